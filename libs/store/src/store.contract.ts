import { expect, test } from "vitest";
import type { Fence, Lease, Outcome, Store, Write } from "./store.ts";

export interface StoreUnderTest {
  readonly store: Store;
  /** Keys and what is left of their life, milliseconds; −1: for ever. */
  readonly keys: () => Promise<readonly { readonly key: string; readonly ttlMs: number }[]>;
  /** Lets that much time pass. */
  readonly pass: (ms: number) => Promise<void>;
}

let partitions = 0;

/** What every store promises. Each test uses partitions of its own. */
export function storeContract(current: () => StoreUnderTest): void {
  const fresh = (): number => partitions++;
  const hold = async (partition: number, member = "m", ttlMs = 60_000): Promise<Fence & Lease> => {
    const [lease] = await current().store.claim("transaction", [partition], member, ttlMs);
    if (lease === undefined) throw new Error("no lease");
    return lease;
  };
  const commit = (fence: Fence, ...writes: readonly Write[]): Promise<Outcome> => new Promise((done) => current().store.commit({ fence, writes, done }));

  test("a lease has one holder; its epoch grows with every change of holder", async () => {
    const { store, pass } = current();
    const p = fresh();
    const first = await hold(p, "a", 400);
    expect(await hold(p, "a", 400)).toEqual(first);
    expect(await store.claim("transaction", [p], "b", 60_000)).toEqual([]);
    expect((await store.claim("dialog", [p], "b", 60_000)).length).toBe(1);
    await pass(500);
    expect(await store.renew([first], 60_000)).toEqual([p]);
    const second = await hold(p, "b");
    expect(second.epoch).toBeGreaterThan(first.epoch);
    await store.release([first]);
    expect(await store.leases("transaction", [p])).toMatchObject([{ member: "b", epoch: second.epoch }]);
    await store.release([second]);
    expect(await store.leases("transaction", [p])).toEqual([]);
  });

  test("a commit without the lease is refused as a whole, alone among the others of its flush", async () => {
    const { store } = current();
    const [mine, lost] = [await hold(fresh()), await hold(fresh(), "a")];
    const write = (name: string): Write => ({ kind: "set", name, ttlMs: 60_000, fields: ["f", "1"] });
    const outcomes = await Promise.all([
      commit(mine, write("x")),
      commit({ ...lost, epoch: lost.epoch + 1 }, write("x"), write("y")),
      commit({ ...lost, member: "b" }, write("x")),
      commit(lost, write("z")),
    ]);
    expect(outcomes).toEqual(["written", "refused", "refused", "written"]);
    expect([
      await store.record(mine.partition, "x"),
      await store.record(lost.partition, "x"),
      await store.record(lost.partition, "y"),
      (await store.record(lost.partition, "z"))?.get("f"),
    ]).toEqual([new Map([["f", "1"]]), undefined, undefined, "1"]);
  });

  test("commits of a partition are written and answered in order", async () => {
    const fence = await hold(fresh());
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 300 }, (_one, at) => commit(fence, { kind: "set", name: "r", ttlMs: 60_000, fields: ["f", String(at)] }).then(() => order.push(at))),
    );
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect((await current().store.record(fence.partition, "r"))?.get("f")).toBe("299");
  });

  test("every kind of write does what it says, with all byte values", async () => {
    const { store } = current();
    const fence = await hold(fresh());
    const p = fence.partition;
    const all = Array.from({ length: 256 }, (_one, at) => String.fromCharCode(at)).join("");
    const ttlMs = 60_000;
    await commit(
      fence,
      { kind: "set", name: "r", ttlMs, fields: ["a", all, "b", "2", "c", ""] },
      { kind: "unset", name: "r", fields: ["b", "never"] },
      { kind: "put", name: "v", ttlMs, value: all },
      { kind: "put", name: "w", ttlMs, value: "w" },
      { kind: "delete", name: "w" },
      { kind: "expire", name: "nothing", ttlMs },
      ...["three", "one", "two", "four"].map((member): Write => ({
        kind: "score",
        name: "z",
        ttlMs,
        member,
        score: ["", "one", "two", "three", "four"].indexOf(member),
      })),
      { kind: "unscore", name: "z", members: ["two", "never"] },
      { kind: "trim", name: "z", maxScore: 1 },
    );
    expect(await store.record(p, "r")).toEqual(
      new Map([
        ["a", all],
        ["c", ""],
      ]),
    );
    expect(await store.values(p, ["v", "w"])).toEqual([all, undefined]);
    expect(await store.value(p, "v")).toBe(all);
    expect(await store.records(p, ["r", "none"])).toEqual([
      new Map([
        ["a", all],
        ["c", ""],
      ]),
      undefined,
    ]);
    expect(await store.range(p, "z", -Infinity, Infinity, 0, 10)).toEqual([
      { member: "three", score: 3 },
      { member: "four", score: 4 },
    ]);
    expect(await store.range(p, "z", 3.5, Infinity, 0, 10)).toEqual([{ member: "four", score: 4 }]);
    expect(await store.range(p, "z", -Infinity, Infinity, 1, 1)).toEqual([{ member: "four", score: 4 }]);
    expect([await store.sizes([p, fresh()], "z"), await store.recordSizes([p], "r")]).toEqual([[2, 0], [2]]);
  });

  test("`set` and `score` only prolong a key's life, `put` and `expire` set it, and nothing lives for ever", async () => {
    const { store, keys, pass } = current();
    const fence = await hold(fresh());
    const p = fence.partition;
    await commit(
      fence,
      { kind: "set", name: "r", ttlMs: 60_000, fields: ["a", "1"] },
      { kind: "set", name: "r", ttlMs: 100, fields: ["b", "2"] },
      { kind: "score", name: "z", ttlMs: 100, member: "m", score: 1 },
      { kind: "score", name: "z", ttlMs: 60_000, member: "n", score: 1 },
      { kind: "put", name: "v", ttlMs: 60_000, value: "1" },
      { kind: "put", name: "v", ttlMs: 100, value: "2" },
      { kind: "set", name: "e", ttlMs: 60_000, fields: ["a", "1"] },
      { kind: "expire", name: "e", ttlMs: 100 },
    );
    for (const { key, ttlMs } of await keys()) expect(ttlMs, key).toBeGreaterThan(0);
    await pass(250);
    expect([(await store.record(p, "r"))?.size, (await store.sizes([p], "z"))[0], await store.value(p, "v"), await store.record(p, "e")]).toEqual([
      2,
      2,
      undefined,
      undefined,
    ]);
  });

  test("takes what is due once per visibility, and only for the holder of the lease", async () => {
    const { store } = current();
    const [fence, lost] = [await hold(fresh()), await hold(fresh())];
    const due = (score: number): Write => ({ kind: "score", name: "t", ttlMs: 60_000, member: `at-${score}`, score });
    await commit(fence, due(5), due(10), due(11), due(20));
    await commit(lost, due(1));
    const taken = await store.takeDue([fence, { ...lost, epoch: lost.epoch + 1 }], "t", 11, 100, 2);
    expect(taken).toEqual({
      taken: [
        {
          partition: fence.partition,
          due: [
            { member: "at-5", score: 5 },
            { member: "at-10", score: 10 },
          ],
        },
      ],
      refused: [lost.partition],
    });
    expect((await store.takeDue([fence], "t", 11, 100, 2)).taken).toEqual([{ partition: fence.partition, due: [{ member: "at-11", score: 11 }] }]);
    expect((await store.takeDue([fence], "t", 11, 100, 2)).taken).toEqual([]);
    expect(await store.range(fence.partition, "t", -Infinity, Infinity, 0, 9)).toMatchObject([
      { member: "at-20" },
      { score: 100 },
      { score: 100 },
      { score: 100 },
    ]);
  });
}
