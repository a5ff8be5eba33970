import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeInbound, decodeOutbound, encodeInbound, encodeOutbound, partitionOf, readFlow, writeFlow, type Inbound, type Outbound } from "./index.ts";

const bytes = (maxLength: number): fc.Arbitrary<string> =>
  fc.array(fc.integer({ min: 0, max: 255 }), { maxLength }).map((codes) => String.fromCharCode(...codes));
const transport = fc.constantFrom("udp" as const, "tcp" as const, "tls" as const, "ws" as const, "wss" as const);
const port = fc.integer({ min: 0, max: 65_535 });
const flow = fc.record({
  transport,
  ingress: fc.constantFrom("ingress-1", "x"),
  connection: fc.constantFrom("", "17"),
  host: fc.constantFrom("192.0.2.1", "2001:db8::1"),
  port,
});
const inbound: fc.Arbitrary<Inbound> = fc.oneof(
  fc.record({ kind: fc.constant("message" as const), flow, receivedAtMs: fc.double({ noNaN: true }), text: bytes(300) }),
  fc.record({ kind: fc.constant("undeliverable" as const), callId: bytes(300), branch: bytes(80), method: bytes(30), fault: bytes(100) }),
);
const outbound: fc.Arbitrary<Outbound> = fc.record({
  transport,
  connection: bytes(20),
  host: bytes(60),
  port,
  callId: bytes(300),
  branch: bytes(80),
  method: bytes(20),
  text: bytes(300),
});

const PINNED: readonly number[] = [24, 174, 222, 139, 217];

test("envelopes come out as they went in, every byte of them", () => {
  fc.assert(
    fc.property(inbound, (one) => {
      expect(decodeInbound(encodeInbound(one))).toEqual(one);
    }),
  );
  fc.assert(
    fc.property(fc.array(outbound, { maxLength: 5 }), (batch) => {
      expect(decodeOutbound(encodeOutbound(batch))).toEqual(batch);
    }),
  );
  fc.assert(
    fc.property(flow, (one) => {
      expect(readFlow(writeFlow(one))).toEqual(one);
    }),
  );
});

test("other versions and cut envelopes are refused, not misread", () => {
  const whole = encodeOutbound([{ transport: "udp", connection: "", host: "h", port: 1, callId: "c", branch: "b", method: "BYE", text: "text" }]);
  for (let size = 2; size < whole.length; size++) expect(decodeOutbound(whole.subarray(0, size))).toBeUndefined();
  for (const payload of [Buffer.from([]), Buffer.from([2, 1, 0, 0]), Buffer.from([1, 9, 0, 0]), Buffer.from([1, 1, 77, 0, 0, 0])])
    expect(decodeInbound(payload)).toBeUndefined();
  expect(readFlow("udp|a|b|70000|h")).toBeUndefined();
});

test("a name that no envelope has room for spoils nothing of the other messages in its batch", () => {
  const good: Outbound = { transport: "udp", connection: "", host: "192.0.2.1", port: 5060, callId: "c", branch: "b", method: "BYE", text: "text" };
  const decoded = decodeOutbound(encodeOutbound([good, { ...good, host: "a.".repeat(200), method: "M".repeat(300) }, good]));
  expect([decoded?.length, decoded?.[0], decoded?.[2]]).toEqual([3, good, good]);
  // Longer than any name of the DNS may be (RFC 1035 §2.3.4): it stays one that cannot be resolved.
  expect(decoded?.[1]?.host.length).toBe(255);
  const far = { transport: "tcp", ingress: "i", connection: "1", host: "h".repeat(300), port: 1 } as const;
  expect(decodeInbound(encodeInbound({ kind: "message", flow: far, receivedAtMs: 1, text: "text" }))).toMatchObject({ text: "text", receivedAtMs: 1 });
  const undeliverable = { kind: "undeliverable", callId: "c", branch: "b", method: "M".repeat(300), fault: "f".repeat(300) } as const;
  expect(decodeInbound(encodeInbound(undeliverable))).toEqual({ ...undeliverable, method: "M".repeat(255), fault: "f".repeat(255) });
});

test("partitions are the same in every release, and evenly used", () => {
  expect(["a84b4c76e66710@pc33", "1-1@127.0.0.1", "2-1@127.0.0.1", "x", ""].map((callId) => partitionOf(callId, 256))).toEqual(PINNED);
  const counts = Array.from({ length: 256 }, () => 0);
  for (let at = 0; at < 25_600; at++) counts[partitionOf(`${at}-4711@127.0.0.1`, 256)]!++;
  expect(Math.min(...counts)).toBeGreaterThan(50);
  expect(Math.max(...counts)).toBeLessThan(150);
});
