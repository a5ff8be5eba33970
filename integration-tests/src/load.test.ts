import { createSocket } from "node:dgram";
import { freePort, lacking, startSipp, until } from "@carillon/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { counted, SYSTEMS, type System } from "./system.ts";

const CALLS = 1_000;
const RATE = 100;

async function callsThrough(system: System, transport: "udp" | "tcp", meanwhile?: (port: number) => Promise<void>): Promise<void> {
  const [calleePort, callerPort] = [await freePort(), await freePort()];
  const callee = startSipp({ scenario: "uas-call", port: calleePort, calls: CALLS, transport, timeoutSeconds: 60 });
  const caller = startSipp({
    scenario: "uac-call",
    port: callerPort,
    remote: `127.0.0.1:${system.sipPort}`,
    calls: CALLS,
    ratePerSecond: RATE,
    transport,
    keys: { target: transport === "tcp" ? `127.0.0.1:${calleePort};transport=tcp` : `127.0.0.1:${calleePort}` },
    pauseMs: 1_000,
    timeoutSeconds: 60,
  });
  await meanwhile?.(system.sipPort);
  const [sent, answered] = await Promise.all([caller.done, callee.done]);
  expect({ caller: sent, callee: answered }).toEqual({
    caller: { successful: CALLS, failed: 0, retransmissions: 0, unexpected: 0, code: 0, errors: "" },
    callee: { successful: CALLS, failed: 0, retransmissions: 0, unexpected: 0, code: 0, errors: "" },
  });
}

/** 10,000 messages that are none, of five kinds, in between the calls. */
async function disturb(port: number): Promise<void> {
  const socket = createSocket("udp4");
  const head = "INVITE sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKbad\r\n";
  const bad = [
    "not a SIP message at all, but long enough to be looked at",
    `${head}From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCSeq: 1 INVITE\r\n\r\n`,
    `${head}From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: bad-CALL\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n`,
    `${head}From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: cut-CALL\r\nCSeq: 1 INVITE\r\nContent-Length: 500\r\n\r\nv=0`,
    `${head}Call-ID: cut-CALL\r\nFro`,
  ];
  for (let sent = 0; sent < 10_000; sent++) {
    // The largest datagram that IPv4 carries is below the ceiling of 64 KiB, so the oversized ones come over the lowered ceiling of this system.
    const text =
      sent % 100 === 0 ? `${head}Call-ID: large-${sent}\r\nX: ${"x".repeat(9_000)}\r\n\r\n` : (bad[sent % bad.length] ?? "").replace("CALL", String(sent));
    socket.send(Buffer.from(text, "latin1"), port, "127.0.0.1");
    if (sent % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  socket.close();
}

describe.skipIf(lacking("sipp")).each(SYSTEMS)("%s", (_name, start) => {
  let system: System;
  beforeAll(async () => {
    system = await start({ CARILLON_MAX_MESSAGE_BYTES: "8192" });
  });
  afterAll(() => system.stop());

  test("carries 1,000 calls at 100/s over UDP: none failed, no retransmission, strictly in order", () => callsThrough(system, "udp"));
  test("carries 1,000 calls at 100/s over TCP", () => callsThrough(system, "tcp"));
  test("carries 1,000 calls among 10,000 broken messages, and counts each kind", async () => {
    await callsThrough(system, "udp", disturb);
    await until("all drops to be counted", async () => {
      const ingress = await counted(system, "carillon_ingress_events_total", "event");
      return (ingress.get("noCallId") ?? 0) >= 3_900;
    });
    const ingress = await counted(system, "carillon_ingress_events_total", "event");
    const transaction = await counted(system, "carillon_transaction_events_total", "event");
    expect(ingress.get("oversized")).toBe(100);
    expect(ingress.get("noCallId")).toBeGreaterThanOrEqual(3_900);
    expect(transaction.get("malformed")).toBeGreaterThanOrEqual(5_900);
    expect(transaction.get("bug") ?? 0).toBe(0);
  });
});
