import type { Bus } from "@carillon/bus";
import type { EdgeCounted } from "./counted.ts";

/**
 * Hands messages of reliable transports to their owner until it says that it has them: nobody retransmits these, so while an owner is being replaced the ingress
 * does. Messages of one Call-ID never overtake each other.
 */
export interface Handoff {
  /** `traceparent`: of a call that is traced. */
  hand(subject: string, callId: string, payload: Uint8Array, traceparent?: string): void;
  readonly size: number;
  close(): void;
}

interface Waiting {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly traceparent: string | undefined;
  readonly sinceMs: number;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 4_000;
/** RFC 3261 table 4, timer H and F: after this nobody waits for it any more. */
const GIVE_UP_AFTER_MS = 32_000;
const MOST_CALLS = 100_000;
const MOST_PER_CALL = 64;

export function startHandoff(bus: Bus, count: (what: EdgeCounted) => void): Handoff {
  const queues = new Map<string, Waiting[]>();
  const ending = new AbortController();
  const { signal } = ending;

  const run = async (callId: string, queue: Waiting[]): Promise<void> => {
    for (let next = queue[0]; next !== undefined && !signal.aborted; next = queue[0]) {
      await deliver(next);
      queue.shift();
    }
    queues.delete(callId);
  };

  const deliver = async (waiting: Waiting): Promise<void> => {
    for (let waitMs = FIRST_WAIT_MS; !signal.aborted; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      const askedAtMs = performance.now();
      try {
        await bus.request(waiting.subject, waiting.payload, waitMs, waiting.traceparent);
        return;
      } catch {
        // Nobody listens yet, or its owner is gone: ask again after the same pause in both cases.
        const leftMs = waitMs - (performance.now() - askedAtMs);
        if (performance.now() - waiting.sinceMs > GIVE_UP_AFTER_MS) return count("unacknowledged");
        if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, leftMs));
        count("republished");
      }
    }
  };

  return {
    hand: (subject, callId, payload, traceparent) => {
      const waiting: Waiting = { subject, payload, traceparent, sinceMs: performance.now() };
      const queue = queues.get(callId);
      if (queue !== undefined) {
        if (queue.length < MOST_PER_CALL) queue.push(waiting);
        else count("overflow");
        return;
      }
      if (queues.size >= MOST_CALLS) return count("overflow");
      const started = [waiting];
      queues.set(callId, started);
      run(callId, started).catch(() => count("bug"));
    },
    get size() {
      return queues.size;
    },
    close: () => {
      ending.abort();
      queues.clear();
    },
  };
}
