import { describe, expect, test } from "vitest";
import { memoryStore } from "./memory-store.ts";
import { storeContract } from "./testing.ts";

describe("the store in memory", () => {
  let nowMs = 1_000_000;
  const store = memoryStore(() => nowMs);
  storeContract(() => ({
    store,
    keys: async () => store.keys(),
    pass: async (ms) => {
      nowMs += ms;
    },
  }));

  test("gives the memory of what has expired back, without being asked for it", async () => {
    const [fence] = await store.claim("transaction", [4_000], "m", 10_000_000);
    const put = (name: string, ttlMs: number): Promise<unknown> =>
      new Promise((done) => store.commit({ fence: fence!, writes: [{ kind: "put", name, ttlMs, value: "v" }], done }));
    await Promise.all(Array.from({ length: 1_000 }, (_one, at) => put(`short-${at}`, 100)));
    nowMs += 1_000;
    for (let count = 0; count < 1_000; count++) await put("long", 100_000);
    expect(store.size).toBeLessThan(100);
  });
});
