import { edit, readMessage, writeAck, writeCancel, writeResponse, type Message } from "@carillon/sip";
import { inviteOf, openParty, type Party } from "@carillon/testkit";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SYSTEMS, type System } from "./system.ts";

describe.each(SYSTEMS)("%s", (_name, start) => {
  let system: System;
  let caller: Party;
  let callee: Party;
  beforeAll(async () => {
    system = await start();
    [caller, callee] = await Promise.all([openParty({ proxyPort: system.sipPort }), openParty({ proxyPort: system.sipPort })]);
  });
  afterAll(() => system.stop());

  function invite(): { callId: string; text: string; message: Message } {
    const callId = randomBytes(8).toString("hex");
    const text = inviteOf(caller, callee.uri, callId);
    const read = readMessage(text);
    if (!read.ok) throw new Error(read.fault.detail);
    return { callId, text, message: read.value };
  }
  const is = (callId: string, method: string, status: number) => (message: Message) =>
    message.callId === callId && message.method === method && message.status === status;

  test("CANCEL while it rings: 200 to the CANCEL, CANCEL downstream, 487 to the INVITE", async () => {
    const { callId, text, message } = invite();
    caller.send(text);
    const { message: rung } = await callee.receive("INVITE", is(callId, "INVITE", 0));
    callee.send(writeResponse(rung, 180, { toTag: "t" }));
    await caller.receive("180", is(callId, "INVITE", 180));
    caller.send(writeCancel(message));
    await caller.receive("200 to the CANCEL", is(callId, "CANCEL", 200));
    const { message: cancel } = await callee.receive("CANCEL", is(callId, "CANCEL", 0));
    expect(cancel.topVia.branch).toBe(rung.topVia.branch);
    callee.send(writeResponse(cancel, 200));
    callee.send(writeResponse(rung, 487, { toTag: "t" }));
    const { message: terminated } = await caller.receive("487", is(callId, "INVITE", 487));
    caller.send(writeAck(message, terminated));
    await callee.receive("ACK, made by the proxy", is(callId, "ACK", 0));
  });

  test("CANCEL before any provisional waits for one", async () => {
    const { callId, text, message } = invite();
    caller.send(text);
    const { message: rung } = await callee.receive("INVITE", is(callId, "INVITE", 0));
    caller.send(writeCancel(message));
    await caller.receive("200 to the CANCEL", is(callId, "CANCEL", 200));
    expect(callee.seen.some((seen) => is(callId, "CANCEL", 0)(seen.message))).toBe(false);
    callee.send(writeResponse(rung, 180, { toTag: "t" }));
    const { message: cancel } = await callee.receive("CANCEL", is(callId, "CANCEL", 0));
    callee.send(writeResponse(cancel, 200));
    callee.send(writeResponse(rung, 487, { toTag: "t" }));
    const { message: terminated } = await caller.receive("487", is(callId, "INVITE", 487));
    caller.send(writeAck(message, terminated));
  });

  test("CANCEL after the 200 changes nothing", async () => {
    const { callId, text, message } = invite();
    caller.send(text);
    const { message: rung } = await callee.receive("INVITE", is(callId, "INVITE", 0));
    callee.send(writeResponse(rung, 200, { toTag: "t", headers: [["Contact", `<${callee.uri}>`]] }));
    const { message: answered } = await caller.receive("200", is(callId, "INVITE", 200));
    caller.send(writeCancel(message));
    await caller.receive("200 to the CANCEL", is(callId, "CANCEL", 200));
    const follow = (method: string, cseq: number): string =>
      edit(message)
        .startLine(`${method} ${callee.uri} SIP/2.0`)
        .replaceFirst("Via", `SIP/2.0/UDP 127.0.0.1:${caller.port};branch=z9hG4bK${method}${callId}`)
        .replace("To", answered.to.text)
        .replace("CSeq", `${cseq} ${method}`)
        .append("Route", answered.recordRoutes.map((route) => route.text).join(", "))
        .toString();
    caller.send(follow("ACK", 1));
    await callee.receive("ACK", is(callId, "ACK", 0));
    expect(callee.seen.some((seen) => is(callId, "CANCEL", 0)(seen.message))).toBe(false);
    caller.send(follow("BYE", 2));
    await caller.receive("200 to the BYE", is(callId, "BYE", 200));
  });

  test("answers 483, 420, 482 and 416 where RFC 3261 wants them", async () => {
    for (const [change, status] of [
      [(message: Message) => edit(message).replace("Max-Forwards", "0").toString(), 483],
      [(message: Message) => edit(message).append("Proxy-Require", "nothing-we-know").toString(), 420],
      [(message: Message) => edit(message).requestUri("tel:+4930123456").toString(), 416],
    ] as const) {
      const { callId, message } = invite();
      caller.send(change(message));
      const { message: refused } = await caller.receive(String(status), is(callId, "INVITE", status));
      caller.send(writeAck(message, refused));
    }
    // What the proxy forwards comes back to it unchanged: a loop.
    const { callId, text } = invite();
    caller.send(text);
    const { message: forwarded } = await callee.receive("INVITE", is(callId, "INVITE", 0));
    callee.send(forwarded.text);
    // Its top Via is the proxy's own, so the refusal comes back the way that the first one went.
    await caller.receive("482", is(callId, "INVITE", 482));
  });
});
