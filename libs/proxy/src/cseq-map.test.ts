import fc from "fast-check";
import { expect, test } from "vitest";
import { mapped, NO_CSEQ, passed, taken, unmapped, type CseqMap } from "./cseq-map.ts";

test("the first request of the cluster's own toward the caller has CSeq 1, toward the callee the INVITE's and one", () => {
  expect(taken(NO_CSEQ).number).toBe(1);
  expect(taken({ last: 7, steps: [] }).number).toBe(8);
});

test("a leg never sees a number go down or repeat, and every answer finds its way back", () => {
  fc.assert(
    fc.property(fc.nat({ max: 1_000 }), fc.array(fc.oneof(fc.constant("own" as const), fc.integer({ min: 1, max: 5 }))), (first, events) => {
      let map: CseqMap = { last: first, steps: [] };
      let peer = first;
      let seen = first;
      for (const event of events) {
        if (event === "own") {
          const { number, next } = taken(map);
          expect(number).toBeGreaterThan(seen);
          seen = number;
          map = next;
          continue;
        }
        peer += event;
        map = passed(map, peer);
        const number = mapped(map, peer);
        expect(number).toBeGreaterThan(seen);
        expect(unmapped(map, number)).toBe(peer);
        seen = number;
      }
    }),
  );
});

test("what was sent before a ping keeps its number when it is repeated after it", () => {
  const before = passed({ last: 1, steps: [] }, 2);
  const sent = mapped(before, 2);
  const after = taken(taken(before).next).next;
  expect([mapped(after, 2), mapped(after, 3)]).toEqual([sent, 5]);
});
