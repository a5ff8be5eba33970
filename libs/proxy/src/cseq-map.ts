/**
 * How the CSeq numbers of one direction of a dialog (toward one leg) are renumbered, so that the leg never sees a number go down or repeat although the cluster
 * sends requests of its own (RFC 3261 §12.2.1.1). Each request of the cluster takes the next number; what the other party sends afterwards moves up by one more.
 * What it had sent before keeps the number that it got, so that retransmissions, ACK, CANCEL and RAck follow their request.
 */
export interface CseqMap {
  /** Highest number that the other party has sent in this direction; 0 if none. */
  readonly last: number;
  /** From the number `from` of the other party on, `shift` is added. Ascending; before the first nothing is added. */
  readonly steps: readonly { readonly from: number; readonly shift: number }[];
}

export const NO_CSEQ: CseqMap = { last: 0, steps: [] };

/** So many renumberings are remembered; what is older than the oldest of them gets its shift. No retransmission lives that long. */
const MOST_STEPS = 8;

/** The number that the leg sees for the other party's `number`. */
export function mapped(map: CseqMap, number: number): number {
  let shift = 0;
  for (const step of map.steps) {
    if (number < step.from) break;
    shift = step.shift;
  }
  return number + shift;
}

/** The other party's number for the one that the leg has seen: the inverse of `mapped`. */
export function unmapped(map: CseqMap, seen: number): number {
  for (let at = map.steps.length - 1; at >= 0; at--) {
    const step = map.steps[at];
    if (step !== undefined && seen >= step.from + step.shift) return seen - step.shift;
  }
  return seen;
}

/** The other party sent `number`. */
export function passed(map: CseqMap, number: number): CseqMap {
  return number > map.last ? { last: number, steps: map.steps } : map;
}

/** The cluster sends a request of its own: the number to write, and the map from then on. */
export function taken(map: CseqMap): { readonly number: number; readonly next: CseqMap } {
  const shift = map.steps.at(-1)?.shift ?? 0;
  const from = map.last + 1;
  const latest = map.steps.at(-1);
  const kept = latest?.from === from ? map.steps.slice(0, -1) : map.steps;
  return { number: from + shift, next: { last: map.last, steps: [...kept, { from, shift: shift + 1 }].slice(-MOST_STEPS) } };
}
