import fc from "fast-check";
import { expect, test } from "vitest";
import { place } from "./placement.ts";

const members = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 9 });

test("everybody gets at most a fair share, rounded up, and nothing is left", () => {
  fc.assert(
    fc.property(members, fc.integer({ min: 1, max: 300 }), (names, partitions) => {
      const placed = place(partitions, names);
      for (const name of names) expect(placed.filter((owner) => owner === name).length).toBeLessThanOrEqual(Math.ceil(partitions / names.length));
      expect(placed).not.toContain(undefined);
    }),
  );
});

test("all who see the same members agree, in whatever order they see them", () => {
  fc.assert(
    fc.property(members, (names) => {
      expect(place(64, names.toSorted())).toEqual(place(64, names.toSorted()));
    }),
  );
  expect(place(4, [])).toEqual([undefined, undefined, undefined, undefined]);
});

test("one member more or less moves little more than its share", () => {
  const four = ["a", "b", "c", "d"];
  const before = place(256, four);
  const after = place(256, [...four, "e"]);
  const moved = before.filter((owner, partition) => owner !== after[partition]).length;
  expect(moved).toBeGreaterThanOrEqual(48);
  expect(moved).toBeLessThan(110);
});
