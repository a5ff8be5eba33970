import { lacking, startNats, until, type Broker } from "@carillon/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectNats } from "./nats-bus.ts";
import { busContract } from "./testing.ts";

describe.skipIf(lacking("nats-server"))("NATS", () => {
  let nats: Broker;
  beforeAll(async () => {
    nats = await startNats();
  });
  afterAll(() => nats.stop());
  const open = (): ReturnType<typeof connectNats> => connectNats({ servers: nats.url, name: "test", onError: () => undefined });

  busContract(open, async (bus) => {
    await bus.flush(2_000);
    // The flush of one connection says nothing of another's: what it has sent is delivered before an answer to the other comes.
    await bus.flush(2_000);
    await new Promise((resolve) => setTimeout(resolve, 20));
  });

  test("comes back after the server was killed, subscriptions and all", async () => {
    const [one, other] = [await open(), await open()];
    const got: string[] = [];
    other.subscribe("after", ({ payload }) => got.push(Buffer.from(payload).toString()));
    await other.flush(2_000);
    await nats.kill();
    await until("the loss to be noticed", () => one.status === "reconnecting" && other.status === "reconnecting");
    await nats.start();
    await until("both to be back", () => one.status === "connected" && other.status === "connected");
    await until("a message to come through", () => {
      one.publish("after", Buffer.from("hello"));
      return got.length > 0;
    });
    await Promise.all([one.close(), other.close()]);
  });

  test("says which server does not answer", async () => {
    await expect(
      connectNats({ servers: "nats://user:secret@127.0.0.1:1", name: "test", onError: () => undefined, connectWithinMs: 500 }),
    ).rejects.toMatchObject({
      code: "CARILLON_BUS_UNAVAILABLE",
      message: expect.not.stringContaining("secret") as string,
    });
  });
});
