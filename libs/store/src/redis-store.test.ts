import { lacking, startRedis, until, type Broker } from "@carillon/testkit";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectRedis } from "./redis-store.ts";
import type { Outcome, Store } from "./store.ts";
import { storeContract } from "./testing.ts";

const log = { warn: (): void => undefined };

describe.skipIf(lacking("redis-server"))("Redis", () => {
  let redis: Broker;
  let store: Store;
  let client: Redis;
  beforeAll(async () => {
    redis = await startRedis();
    store = await connectRedis({ url: redis.url, timeLimitMs: 1_000, log });
    client = new Redis(redis.url);
    client.on("error", () => undefined);
  });
  afterAll(async () => {
    client.disconnect();
    await store.close();
    await redis.stop();
  });

  storeContract(() => ({
    store,
    keys: async () => Promise.all((await client.keys("carillon:*")).map(async (key) => ({ key, ttlMs: await client.pttl(key) }))),
    pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  }));

  test("while Redis is away commits fail and reads reject within the limit; afterwards all is well again", async () => {
    const [lease] = await store.claim("transaction", [9_000], "m", 60_000);
    const commit = (): Promise<Outcome> =>
      new Promise((done) => store.commit({ fence: lease!, writes: [{ kind: "put", name: "v", ttlMs: 60_000, value: "1" }], done }));
    expect(await commit()).toBe("written");
    await redis.kill();
    expect(await commit()).toBe("failed");
    await expect(store.value(9_000, "v")).rejects.toMatchObject({ code: "CARILLON_STORE_UNAVAILABLE" });
    await redis.start();
    await until("Redis to be there again", async () => (await commit()) === "written");
    expect(await store.value(9_000, "v")).toBe("1");
  });

  test("refuses a URL that it does not know, without showing a password", async () => {
    await expect(connectRedis({ url: "http://user:secret@host", log })).rejects.toMatchObject({
      code: "CARILLON_STORE_URL",
      message: expect.not.stringContaining("secret") as string,
    });
    await expect(connectRedis({ url: "redis://user:secret@127.0.0.1:1", timeLimitMs: 300, log })).rejects.toMatchObject({
      code: "CARILLON_STORE_UNAVAILABLE",
      message: expect.not.stringContaining("secret") as string,
    });
  });
});
