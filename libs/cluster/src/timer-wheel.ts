/** Something that wants to be woken. The wheel writes `armedAtMs`; nobody else does. */
export interface Sleeper {
  /** When it wants to be woken, milliseconds of the clock given to the wheel; `Infinity`: not at all. Read when a slot comes up, so a later change needs no call. */
  dueAtMs: number;
  /** When it will be looked at; `Infinity` while it is in no slot. */
  armedAtMs: number;
}

const SLOT_MS = 20;

/**
 * One interval for any number of sleepers, in slots of 20 ms: never early, at most one slot late on an idle process. A sleeper whose due time moves back stays
 * where it is and is looked at once more than needed; that is cheaper than moving it.
 */
export class TimerWheel<T extends Sleeper> {
  readonly #slots = new Map<number, { readonly sleeper: T; readonly armedAtMs: number }[]>();
  readonly #nowMs: () => number;
  readonly #wake: (sleeper: T) => void;
  readonly #timer: ReturnType<typeof setInterval>;
  #turned: number;

  constructor(nowMs: () => number, wake: (sleeper: T) => void) {
    this.#nowMs = nowMs;
    this.#wake = wake;
    this.#turned = Math.floor(nowMs() / SLOT_MS);
    this.#timer = setInterval(() => this.turn(), SLOT_MS);
  }

  /** Sees to it that `sleeper` is looked at by its `dueAtMs`. */
  arm(sleeper: T): void {
    const { dueAtMs } = sleeper;
    if (dueAtMs >= sleeper.armedAtMs || dueAtMs === Infinity) return;
    // The slot after the one that the instant lies in: never early.
    const slot = Math.max(Math.floor(dueAtMs / SLOT_MS) + 1, this.#turned + 1);
    sleeper.armedAtMs = dueAtMs;
    const slotted = this.#slots.get(slot);
    const one = { sleeper, armedAtMs: dueAtMs };
    if (slotted === undefined) this.#slots.set(slot, [one]);
    else slotted.push(one);
  }

  /** Looks at all slots that have come up. The interval does this; a simulator may. */
  turn(): void {
    const nowMs = this.#nowMs();
    const now = Math.floor(nowMs / SLOT_MS);
    // After a long pause the few slots in use are fewer than those that went by.
    const slots =
      now - this.#turned > this.#slots.size ? [...this.#slots.keys()].filter((slot) => slot <= now).toSorted((a, b) => a - b) : between(this.#turned, now);
    this.#turned = now;
    for (const slot of slots) {
      const slotted = this.#slots.get(slot);
      if (slotted === undefined) continue;
      this.#slots.delete(slot);
      for (const { sleeper, armedAtMs } of slotted) {
        // Armed for an earlier instant since: that slot has looked at it, or will.
        if (sleeper.armedAtMs !== armedAtMs) continue;
        sleeper.armedAtMs = Infinity;
        if (sleeper.dueAtMs <= nowMs) this.#wake(sleeper);
        else this.arm(sleeper);
      }
    }
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#slots.clear();
  }
}

function between(after: number, upTo: number): readonly number[] {
  const slots: number[] = [];
  for (let slot = after + 1; slot <= upTo; slot++) slots.push(slot);
  return slots;
}
