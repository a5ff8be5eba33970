import type { Store } from "@carillon/store";

/** The cluster's clock: follows the store's, so that pods whose own clocks differ agree. */
export interface Clock {
  /** Milliseconds since the epoch; never goes back within a process. */
  nowMs(): number;
}

export interface ClusterClock extends Clock {
  /** Asks the store for its time now. Rejects where the store does. */
  follow(): Promise<void>;
  stop(): void;
}

/**
 * Starts a clock that asks the store for its time every `everyMs`. Between two answers it runs on this process's monotonic clock, so a stepped wall clock does
 * not move it. The error is at most half the round trip of the answer.
 */
export async function startClock(
  store: Store,
  everyMs: number,
  onError: (error: unknown) => void,
  monotonicMs: () => number = () => performance.now(),
): Promise<ClusterClock> {
  let offsetMs = Date.now() - monotonicMs();
  let lastMs = 0;
  const follow = async (): Promise<void> => {
    const askedAtMs = monotonicMs();
    const storeMs = await store.nowMs();
    const answeredAtMs = monotonicMs();
    offsetMs = storeMs - (askedAtMs + answeredAtMs) / 2;
  };
  await follow();
  const timer = setInterval(() => {
    // The next round asks again; until then the monotonic clock carries on.
    follow().catch(onError);
  }, everyMs);
  timer.unref();
  return {
    nowMs: () => (lastMs = Math.max(lastMs, Math.round(monotonicMs() + offsetMs))),
    follow,
    stop: () => clearInterval(timer),
  };
}
