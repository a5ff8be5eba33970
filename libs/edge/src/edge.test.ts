import { createSocket, type Socket } from "node:dgram";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { inProcessBus, type Bus } from "@carillon/bus";
import { decodeInbound, encodeOutbound, sipOut, SIP_OUT_ANY, type Inbound, type Outbound } from "@carillon/wire";
import { until } from "@carillon/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startEdge, type Edge, type EdgeCounted } from "./index.ts";

const log = { info: (): void => undefined, warn: (): void => undefined };
const REQUEST = (callId: string): string => `OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKx\r\nCall-ID: ${callId}\r\nContent-Length: 0\r\n\r\n`;

let bus: Bus;
let edge: Edge;
let phone: Socket;
let arrived: Inbound[];
let acknowledges: boolean;
const counts = new Map<EdgeCounted, number>();
const port = (transport: string): number => edge.addresses.find((one) => one.transport === transport)!.port;

beforeEach(async () => {
  bus = inProcessBus({ onError: () => undefined });
  counts.clear();
  arrived = [];
  acknowledges = true;
  bus.subscribe("sip.in.*", (delivery) => {
    arrived.push(decodeInbound(delivery.payload)!);
    if (acknowledges) delivery.answer(Buffer.from([1]));
  });
  edge = await startEdge({
    bus,
    member: "edge-1",
    listen: [
      { transport: "udp", host: "127.0.0.1", port: 0 },
      { transport: "tcp", host: "127.0.0.1", port: 0 },
    ],
    partitions: 16,
    maxMessageBytes: 4_096,
    floodPerSecond: 0,
    log,
    count: (what) => counts.set(what, (counts.get(what) ?? 0) + 1),
  });
  phone = createSocket("udp4");
  phone.bind(0, "127.0.0.1");
  await once(phone, "listening");
});
afterEach(async () => {
  phone.close();
  edge.close();
  await bus.close();
});

const outbound = (change: Partial<Outbound>): Outbound => ({
  transport: "udp",
  connection: "",
  host: "127.0.0.1",
  port: phone.address().port,
  callId: "c",
  branch: "",
  method: "",
  text: "hello",
  ...change,
});
const sendAll = (subject: string, ...batch: readonly Outbound[]): void => bus.publish(subject, encodeOutbound(batch));

test("hands a datagram to the owner of its Call-ID with where it came from, and sends what it is told, in order", async () => {
  phone.send(REQUEST("c1"), port("udp"), "127.0.0.1");
  const [first] = await until("the datagram", () => (arrived.length > 0 ? arrived : undefined));
  expect(first).toMatchObject({
    kind: "message",
    text: REQUEST("c1"),
    flow: { transport: "udp", ingress: "edge-1", host: "127.0.0.1", port: phone.address().port },
  });
  const got: string[] = [];
  phone.on("message", (bytes) => got.push(bytes.toString("latin1")));
  sendAll(sipOut("edge-1"), ...Array.from({ length: 50 }, (_one, at) => outbound({ text: `${at}\u00ff` })));
  sendAll(SIP_OUT_ANY, outbound({ text: "any" }));
  await until("all of them", () => got.length === 51);
  expect(got).toEqual([...Array.from({ length: 50 }, (_one, at) => `${at}\u00ff`), "any"]);
});

test("10,000 datagrams that are nothing are counted by kind, and the next message is served", async () => {
  const junk = [
    Buffer.from("\r\n\r\n"),
    Buffer.from([0, 0, 0, 0]),
    Buffer.from("short"),
    Buffer.from("x".repeat(100)),
    Buffer.from(`INVITE sip:x SIP/2.0\r\nCall-ID: x\r\nX: ${"x".repeat(5_000)}\r\n\r\n`),
  ];
  for (let sent = 0; sent < 10_000; sent++) {
    phone.send(junk[sent % junk.length]!, port("udp"), "127.0.0.1");
    if (sent % 100 === 99) await until("them to be taken", () => [...counts.values()].reduce((sum, one) => sum + one, 0) >= sent);
  }
  phone.send(REQUEST("after"), port("udp"), "127.0.0.1");
  await until("the message", () => arrived.length === 1);
  expect([counts.get("keepalive"), counts.get("tooShort"), counts.get("noCallId"), counts.get("oversized")]).toEqual([4_000, 2_000, 2_000, 2_000]);
});

test("cuts a TCP stream into messages, answers keep-alives, and answers on the connection", async () => {
  const socket = connect(port("tcp"), "127.0.0.1");
  let got = "";
  socket.on("data", (bytes) => (got += bytes.toString("latin1")));
  socket.write(`\r\n\r\n${REQUEST("c1")}${REQUEST("c2")}`);
  await until("both", () => arrived.length === 2);
  const [first] = arrived;
  if (first?.kind !== "message") throw new Error("no message");
  expect(first.flow.connection).not.toBe("");
  sendAll(sipOut("edge-1"), outbound({ transport: "tcp", connection: first.flow.connection, port: first.flow.port, text: "answer" }));
  await until("the answer", () => got === "\r\nanswer");
  socket.write("garbage without end of headers that is no SIP\r\n\r\n");
  await once(socket, "close");
  expect(counts.get("framing")).toBe(1);
});

test("publishes what came over TCP again until an owner has it, without overtaking within a call", async () => {
  acknowledges = false;
  const socket = connect(port("tcp"), "127.0.0.1");
  socket.write(REQUEST("c1").replace("sip:x", "sip:first") + REQUEST("c1").replace("sip:x", "sip:second"));
  await until("the first to be published twice", () => arrived.length === 2);
  acknowledges = true;
  await until("the second", () => arrived.length === 4);
  expect(arrived.map((one) => (one.kind === "message" ? /sip:(\w+)/.exec(one.text)![1] : ""))).toEqual(["first", "first", "first", "second"]);
  socket.destroy();
});

test("opens a connection where there is none, uses it again, and says which request could not be sent", async () => {
  const got: string[] = [];
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.on("data", (bytes) => got.push(bytes.toString("latin1")));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  sendAll(sipOut("edge-1"), outbound({ transport: "tcp", port: address.port, text: "one" }), outbound({ transport: "tcp", port: address.port, text: "two" }));
  await until("both", () => got.join("") === "onetwo");
  expect(connections).toBe(1);
  server.close();
  sendAll(sipOut("edge-1"), outbound({ transport: "tcp", port: 1, callId: "c9", branch: "z9hG4bKb", method: "INVITE" }));
  sendAll(sipOut("edge-1"), outbound({ transport: "tls", callId: "c9", branch: "z9hG4bKt", method: "INVITE" }));
  await until("the feedback", () => arrived.length === 2);
  expect(arrived.map((one) => (one.kind === "undeliverable" ? [one.callId, one.branch] : []))).toEqual(
    expect.arrayContaining([
      ["c9", "z9hG4bKb"],
      ["c9", "z9hG4bKt"],
    ]),
  );
});

test("refuses a transport that this release has not", async () => {
  const options = {
    bus,
    member: "x",
    listen: [{ transport: "ws" as const, host: "127.0.0.1", port: 0 }],
    partitions: 1,
    maxMessageBytes: 1,
    floodPerSecond: 0,
    log,
    count: () => undefined,
  };
  await expect(startEdge(options)).rejects.toMatchObject({ code: "CARILLON_EDGE_TRANSPORT_UNSUPPORTED" });
});
