import fc from "fast-check";
import { expect, test } from "vitest";
import { TimerWheel, type Sleeper } from "./timer-wheel.ts";

test("wakes nobody early, everybody by the next slot, and each once", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: 100_000 }), fc.option(fc.nat({ max: 100_000 }))), { maxLength: 40 }),
      fc.array(fc.nat({ max: 30_000 })),
      (sleepers, jumps) => {
        let nowMs = 1_000;
        const woken = new Map<Sleeper, number>();
        const wheel = new TimerWheel<Sleeper>(
          () => nowMs,
          (sleeper) => {
            expect(nowMs).toBeGreaterThanOrEqual(sleeper.dueAtMs);
            expect(woken.has(sleeper)).toBe(false);
            woken.set(sleeper, nowMs);
          },
        );
        const all = sleepers.map(([dueAtMs, moved]) => {
          const sleeper: Sleeper = { dueAtMs: nowMs + dueAtMs, armedAtMs: Infinity };
          wheel.arm(sleeper);
          if (moved !== null) {
            sleeper.dueAtMs = nowMs + moved;
            wheel.arm(sleeper);
          }
          return sleeper;
        });
        for (const jump of jumps) {
          nowMs += jump;
          wheel.turn();
          for (const sleeper of all) if (sleeper.dueAtMs + 20 < nowMs) expect(woken.has(sleeper)).toBe(true);
        }
        wheel.stop();
      },
    ),
  );
});
