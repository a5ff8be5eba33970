import { connect } from "node:net";
import { expect, test } from "vitest";
import { startNats, startRedis } from "./brokers.ts";

/** What the server says to one line; the first thing that it says by itself where the line is empty. */
function ask(url: string, line: string): Promise<string> {
  const { hostname: host, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port) });
    socket.setTimeout(5_000, () => socket.destroy(new Error(`no answer to ${line}`)));
    socket.once("error", reject);
    socket.once("data", (bytes) => {
      socket.destroy();
      resolve(bytes.toString("latin1"));
    });
    if (line !== "") socket.write(`${line}\r\n`);
  });
}

test("a Redis that is killed and started again serves at the same address and keeps what it acknowledged", async () => {
  const redis = await startRedis();
  try {
    expect(await ask(redis.url, "CONFIG SET appendfsync always")).toBe("+OK\r\n");
    expect(await ask(redis.url, "SET call ringing")).toBe("+OK\r\n");
    await redis.kill();
    await expect(ask(redis.url, "PING")).rejects.toThrow(/ECONNREFUSED/);
    await redis.kill();
    await redis.start();
    expect(await ask(redis.url, "GET call")).toBe("$7\r\nringing\r\n");
  } finally {
    await redis.stop();
  }
});

test("a NATS that is killed and started again serves at the same address", async () => {
  const nats = await startNats();
  try {
    await nats.kill();
    await expect(ask(nats.url, "")).rejects.toThrow(/ECONNREFUSED/);
    await nats.start();
    expect(await ask(nats.url, "")).toMatch(/^INFO \{/);
  } finally {
    await nats.stop();
  }
});
