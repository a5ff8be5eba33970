import type { Bus, BusStatus, Delivery, PublishOptions, SubscribeOptions, Subscription } from "./bus.ts";
import { BusError } from "./errors.ts";
import { matches } from "./subject.ts";

export interface InProcessBusOptions {
  /** A handler threw: a bug, reported here; other deliveries go on. */
  readonly onError: (error: unknown) => void;
  /** Messages that may wait for delivery; beyond it they are dropped and counted. */
  readonly maxQueued?: number | undefined;
}

interface Subscriber {
  readonly pattern: string;
  readonly queue: string | undefined;
  readonly deliver: (delivery: Delivery) => void;
  stopped: boolean;
}

interface Queued {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly traceparent: string | undefined;
  readonly onUnheard: (() => void) | undefined;
  readonly answer: ((payload: Uint8Array) => void) | undefined;
}

/** The bus of a single process: same promises as NATS, payloads by reference, delivered when the turn's own work is done. */
export function inProcessBus(options: InProcessBusOptions): Bus & { readonly dropped: () => number } {
  const maxQueued = options.maxQueued ?? 100_000;
  const exact = new Map<string, Subscriber[]>();
  const wild: Subscriber[] = [];
  const turns = new Map<string, number>();
  let queue: Queued[] = [];
  let draining = false;
  let dropped = 0;
  let status: BusStatus = "connected";
  const listeners = new Set<(status: BusStatus) => void>();

  const push = (queued: Queued): void => {
    if (status === "closed" || queue.length >= maxQueued) {
      dropped++;
      return;
    }
    queue.push(queued);
    if (draining) return;
    draining = true;
    queueMicrotask(drain);
  };

  const drain = (): void => {
    const batch = queue;
    queue = [];
    draining = false;
    for (const queued of batch) deliver(queued);
  };

  const deliver = (queued: Queued): void => {
    let heard = false;
    const groups = new Map<string, Subscriber[]>();
    const hear = (one: Subscriber): void => {
      if (one.stopped) return;
      heard = true;
      if (one.queue === undefined) hand(one, queued);
      else groups.set(one.queue, [...(groups.get(one.queue) ?? []), one]);
    };
    const subscribers = exact.get(queued.subject);
    if (subscribers !== undefined) for (const one of subscribers) hear(one);
    for (const one of wild) if (matches(one.pattern, queued.subject)) hear(one);
    for (const [group, members] of groups) {
      const turn = turns.get(group) ?? 0;
      turns.set(group, turn + 1);
      const one = members[turn % members.length];
      if (one !== undefined) hand(one, queued);
    }
    if (!heard) queued.onUnheard?.();
  };

  const hand = (one: Subscriber, queued: Queued): void => {
    try {
      one.deliver({
        subject: queued.subject,
        payload: queued.payload,
        traceparent: queued.traceparent,
        wantsAnswer: queued.answer !== undefined,
        answer: (payload) => queued.answer?.(payload),
      });
    } catch (error) {
      options.onError(error);
    }
  };

  return {
    get status() {
      return status;
    },
    dropped: () => dropped,
    onStatus: (listener) => {
      listeners.add(listener);
      return { stop: () => listeners.delete(listener) };
    },
    publish: (subject: string, payload: Uint8Array, given?: PublishOptions) =>
      push({ subject, payload, traceparent: given?.traceparent, onUnheard: given?.onUnheard, answer: undefined }),
    subscribe: (pattern: string, handler: (delivery: Delivery) => void, given?: SubscribeOptions): Subscription => {
      const one: Subscriber = { pattern, queue: given?.queue, deliver: handler, stopped: false };
      const list = pattern.includes("*") || pattern.includes(">") ? wild : (exact.get(pattern) ?? []);
      list.push(one);
      if (list !== wild) exact.set(pattern, list);
      return {
        stop: () => {
          one.stopped = true;
          const at = list.indexOf(one);
          if (at >= 0) list.splice(at, 1);
          if (list !== wild && list.length === 0) exact.delete(pattern);
        },
      };
    },
    request: (subject, payload, timeoutMs, traceparent) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new BusError("CARILLON_BUS_TIMEOUT", `no answer on ${subject} within ${timeoutMs} ms`)), timeoutMs);
        push({
          subject,
          payload,
          traceparent,
          onUnheard: () => {
            clearTimeout(timer);
            reject(new BusError("CARILLON_BUS_NO_RESPONDERS", `nobody listens on ${subject}`));
          },
          answer: (answer) => {
            clearTimeout(timer);
            resolve(answer);
          },
        });
      }),
    flush: async () => {
      while (queue.length > 0) await Promise.resolve();
    },
    close: async () => {
      drain();
      status = "closed";
      for (const listener of listeners) listener(status);
      exact.clear();
      wild.length = 0;
    },
  };
}
