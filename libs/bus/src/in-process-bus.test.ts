import { describe, expect, test } from "vitest";
import { inProcessBus } from "./in-process-bus.ts";
import { busContract } from "./testing.ts";

describe("the bus of a single process", () => {
  const shared = inProcessBus({ onError: () => undefined });
  busContract(
    // All "connections" are the one process: closing is left to the end of it.
    async () => ({ ...shared, status: "connected", close: async () => undefined }),
    async () => {
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    },
  );

  test("drops and counts what is more than it may hold", async () => {
    const bus = inProcessBus({ onError: () => undefined, maxQueued: 10 });
    let got = 0;
    bus.subscribe("x", () => got++);
    for (let count = 0; count < 25; count++) bus.publish("x", Buffer.from(""));
    await new Promise((resolve) => setImmediate(resolve));
    expect([got, bus.dropped()]).toEqual([10, 15]);
  });
});
