import { afterEach, expect, test } from "vitest";
import type { Bus } from "./bus.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");
const text = (payload: Uint8Array): string => Buffer.from(payload).toString("latin1");

/** What every bus promises. `open` gives a bus of its own that talks to the others that it gave; `heard` settles when what was published before has been delivered. */
export function busContract(open: () => Promise<Bus>, heard: (bus: Bus) => Promise<void>): void {
  const buses: Bus[] = [];
  const connect = async (): Promise<Bus> => {
    const bus = await open();
    buses.push(bus);
    return bus;
  };
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
  });

  test("delivers the messages of a publisher in order, all byte values unchanged", async () => {
    const [one, other] = [await connect(), await connect()];
    const all = Array.from({ length: 256 }, (_one, at) => String.fromCharCode(at)).join("");
    const got: string[] = [];
    other.subscribe("a.b", ({ payload }) => got.push(text(payload)));
    await heard(other);
    for (let count = 0; count < 1_000; count++) one.publish("a.b", bytes(`${count}${all}`));
    await heard(one);
    await heard(other);
    expect(got).toEqual(Array.from({ length: 1_000 }, (_one, count) => `${count}${all}`));
  });

  test("knows NATS's wildcards, and stops when told", async () => {
    const bus = await connect();
    const got: string[] = [];
    const subscriptions = ["x.*", "x.>", "x.*.z"].map((pattern) => bus.subscribe(pattern, ({ subject }) => got.push(`${pattern} ${subject}`)));
    await heard(bus);
    for (const subject of ["x", "x.y", "x.y.z"]) bus.publish(subject, bytes(""));
    await heard(bus);
    expect(got.toSorted()).toEqual(["x.* x.y", "x.*.z x.y.z", "x.> x.y", "x.> x.y.z"]);
    for (const subscription of subscriptions) subscription.stop();
    bus.publish("x.y", bytes(""));
    await heard(bus);
    expect(got).toHaveLength(4);
  });

  test("gives a message of a queue group to one member", async () => {
    const [one, other] = [await connect(), await connect()];
    const got: number[] = [];
    for (const [at, bus] of [one, other].entries()) bus.subscribe("work", () => got.push(at), { queue: "group" });
    await Promise.all([heard(one), heard(other)]);
    for (let count = 0; count < 200; count++) one.publish("work", bytes(""));
    await heard(one);
    await heard(other);
    expect(got).toHaveLength(200);
  });

  test("carries questions and answers, and says when nobody listens or nobody answers", async () => {
    const [one, other] = [await connect(), await connect()];
    other.subscribe("ask", (delivery) => delivery.answer(bytes(`${text(delivery.payload)} ${delivery.wantsAnswer}`)));
    other.subscribe("silent", () => undefined);
    await heard(other);
    expect(text(await one.request("ask", bytes("yes"), 2_000))).toBe("yes true");
    await expect(one.request("nobody", bytes(""), 2_000)).rejects.toMatchObject({ code: "CARILLON_BUS_NO_RESPONDERS" });
    await expect(one.request("silent", bytes(""), 50)).rejects.toMatchObject({ code: "CARILLON_BUS_TIMEOUT" });
  });

  test("tells a publisher that it was not heard, and passes the trace context on", async () => {
    const [one, other] = [await connect(), await connect()];
    const got: string[] = [];
    other.subscribe("there", ({ traceparent, wantsAnswer }) => got.push(`${traceparent} ${wantsAnswer}`));
    await heard(other);
    const unheard: string[] = [];
    one.publish("there", bytes(""), { onUnheard: () => unheard.push("there"), traceparent: "00-1-2-01" });
    await new Promise<void>((resolve) => one.publish("gone", bytes(""), { onUnheard: resolve }));
    await heard(other);
    expect([got, unheard]).toEqual([["00-1-2-01 false"], []]);
  });

  test("a handler that throws harms nobody", async () => {
    const bus = await connect();
    const got: string[] = [];
    bus.subscribe("t", () => {
      throw new Error("a bug of the handler");
    });
    bus.subscribe("t", ({ payload }) => got.push(text(payload)));
    await heard(bus);
    bus.publish("t", bytes("1"));
    bus.publish("t", bytes("2"));
    await heard(bus);
    expect(got).toEqual(["1", "2"]);
  });
}
