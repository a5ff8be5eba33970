import type { Bus } from "@carillon/bus";
import type { Store } from "@carillon/store";
import { dialogDo } from "@carillon/wire";
import type { Clock } from "./clock.ts";
import { TIMERS } from "./dialog-owner.ts";
import type { Ownership } from "./ownership.ts";
import { repeat } from "./repeat.ts";

export interface DueTimesOptions {
  readonly store: Store;
  readonly bus: Bus;
  readonly ownership: Ownership;
  readonly clock: Clock;
  /** How late a due time was seen, milliseconds. */
  readonly onLag: (lagMs: number) => void;
  readonly onError: (error: unknown) => void;
  /** Pause between two looks, milliseconds. */
  readonly everyMs?: number | undefined;
  /** What was said to be due and not moved on by then is said again, milliseconds. */
  readonly visibilityMs?: number | undefined;
}

const AT_ONCE = 500;
/** After failures of the store the pause doubles up to this, milliseconds: so no due time is later than a second once it is back. */
const LONGEST_PAUSE_MS = 800;

/** The loop of the timer service: says what is due in its partitions, decides nothing. Never early, since the store's own clock rules. */
export function startDueTimes(options: DueTimesOptions): { stop(): void } {
  const { store, bus, ownership, clock, onLag, onError } = options;
  const visibilityMs = options.visibilityMs ?? 2_000;
  const everyMs = options.everyMs ?? 100;

  let failures = 0;
  let notBeforeMs = 0;

  const look = async (): Promise<void> => {
    if (clock.nowMs() < notBeforeMs) return;
    const fences = ownership.held().flatMap((partition) => {
      const fence = ownership.lease(partition);
      return fence === undefined ? [] : [fence];
    });
    if (fences.length === 0) return;
    const nowMs = clock.nowMs();
    const { taken } = await store.takeDue(fences, TIMERS, nowMs, nowMs + visibilityMs, AT_ONCE);
    failures = 0;
    for (const { partition, due } of taken) {
      for (const { score } of due) onLag(nowMs - score);
      bus.publish(dialogDo(partition), Buffer.from(JSON.stringify({ kind: "due", ids: due.map(({ member }) => member) })));
    }
  };

  return repeat(everyMs, look, (error) => {
    notBeforeMs = clock.nowMs() + Math.min(LONGEST_PAUSE_MS, everyMs * 2 ** ++failures);
    onError(error);
  });
}
