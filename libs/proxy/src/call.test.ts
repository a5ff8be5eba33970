import type { CallCommand, DialogEvent } from "@carillon/dialog";
import { edit, readMessage, writeAck, writeCancel, writeRequest, writeResponse, type Message } from "@carillon/sip";
import type { Flow } from "@carillon/wire/flow";
import { describe, expect, test } from "vitest";
import { builtinRoute, Effects, newCall, nextDueAtMs, obey, readCall, receive, time, type Call, type Decision, type Identity, type Policy } from "./index.ts";

const CALL_ID = "call-1";
const identity: Identity = { advertised: [{ transport: "udp", host: "proxy.test", port: 5060 }], names: new Set(["proxy.test"]), ports: new Set([5060]) };
const flowOf = (host: string): Flow => ({ transport: "udp", ingress: "i1", connection: "", host, port: 5060 });
const CALLER = flowOf("10.0.0.1");
const CALLEE = flowOf("10.0.0.2");

/** One call on a virtual clock; its record is kept as a store would. */
class Driver {
  nowMs = 1_000;
  call: Call = newCall(CALL_ID, 7);
  readonly record = new Map<string, string>();
  readonly sent: { atMs: number; to: string; message: Message }[] = [];
  readonly told: DialogEvent[] = [];
  readonly policy: Policy;

  constructor(decision?: Decision) {
    const route = decision === undefined ? builtinRoute(identity, { allows: () => true }) : (): Decision => decision;
    this.policy = { identity, route, script: undefined, timerCMs: 180_000, dialogKeepMs: 50_000_000, seed: 1 };
  }

  step(change: (fx: Effects) => void): readonly Message[] {
    const fx = new Effects();
    change(fx);
    for (let at = 0; at < fx.fields.length; at += 2) this.record.set(fx.fields[at]!, fx.fields[at + 1]!);
    for (const field of fx.removed) this.record.delete(field);
    this.told.push(...fx.events);
    const messages = fx.sendings.map(({ hop, text }) => ({ atMs: this.nowMs, to: hop.host, message: message(text) }));
    this.sent.push(...messages);
    return messages.map((one) => one.message);
  }

  receive(text: string, flow: Flow): readonly Message[] {
    return this.step((fx) => receive(this.call, message(text), flow, this.nowMs, this.policy, fx));
  }

  obey(command: CallCommand): readonly Message[] {
    return this.step((fx) => obey(this.call, command, this.nowMs, this.policy, fx));
  }

  /** Lets the clock run, from due time to due time. */
  run(untilMs: number): void {
    for (let dueAtMs = nextDueAtMs(this.call); dueAtMs <= untilMs; dueAtMs = nextDueAtMs(this.call)) {
      this.nowMs = Math.max(this.nowMs, dueAtMs);
      this.step((fx) => time(this.call, this.nowMs, this.policy, fx));
    }
    this.nowMs = untilMs;
  }

  /** Another pod takes over with what the record holds. */
  takeOver(): void {
    this.call = readCall(CALL_ID, 7, new Map(this.record));
  }
}

function message(text: string): Message {
  const read = readMessage(text);
  if (!read.ok) throw new Error(`${read.fault.detail}: ${text}`);
  return read.value;
}

const request = (
  method: string,
  cseq: number,
  options: { toTag?: string; branch?: string; uri?: string; routes?: readonly string[]; from?: "callee" } = {},
): string => {
  const [from, to] = ["<sip:alice@10.0.0.1>;tag=a", `<sip:bob@10.0.0.2>${options.toTag === undefined ? "" : `;tag=${options.toTag}`}`];
  const host = options.from === "callee" ? "10.0.0.2" : "10.0.0.1";
  return writeRequest({
    method,
    requestUri: options.uri ?? (options.from === "callee" ? "sip:alice@10.0.0.1" : "sip:bob@10.0.0.2"),
    vias: [`SIP/2.0/UDP ${host};branch=${options.branch ?? `z9hG4bK${method}${cseq}`}`],
    routes: options.routes,
    from: options.from === "callee" ? to : from,
    to: options.from === "callee" ? from : to,
    callId: CALL_ID,
    cseq,
    headers: [["Contact", `<sip:x@${host}>`]],
  });
};
const answer = (to: Message, status: number, toTag = "b"): string => writeResponse(to, status, { toTag, headers: [["Contact", "<sip:bob@10.0.0.2>"]] });
const kinds = (messages: readonly Message[]): readonly (string | number)[] => messages.map((one) => (one.isRequest ? one.method : one.status));

function ringing(driver: Driver): Message {
  const [trying, invite] = driver.receive(request("INVITE", 1), CALLER);
  expect(kinds([trying!, invite!])).toEqual([100, "INVITE"]);
  return invite!;
}

function standing(driver: Driver): Message {
  const invite = ringing(driver);
  expect(kinds(driver.receive(answer(invite, 180), CALLEE))).toEqual([180]);
  expect(kinds(driver.receive(answer(invite, 200), CALLEE))).toEqual([200]);
  expect(kinds(driver.receive(request("ACK", 1, { toTag: "b", branch: "z9hG4bKack" }), CALLER))).toEqual(["ACK"]);
  return invite;
}

describe("a call", () => {
  test("goes through with Via, Record-Route, Max-Forwards and received as RFC 3261 wants them", () => {
    const driver = new Driver();
    const [, invite] = driver.receive(request("INVITE", 1).replace("UDP 10.0.0.1;", "UDP phone.local;rport;"), CALLER);
    expect(invite!.vias.map(({ host, received, rport }) => [host, received, rport])).toEqual([
      ["proxy.test", undefined, undefined],
      ["phone.local", "10.0.0.1", 5060],
    ]);
    expect([invite!.maxForwards, invite!.recordRoutes.length, invite!.recordRoutes[0]!.uri]).toEqual([
      69,
      1,
      expect.stringMatching(/^sip:proxy\.test:5060;lr;did=7\.\w+;k=\w+$/),
    ]);
    const [back] = driver.receive(answer(invite!, 200), CALLEE);
    expect(back!.vias.map(({ host }) => host)).toEqual(["phone.local"]);
  });

  test("tells the dialog's life: early, confirmed, acknowledged, bye", () => {
    const driver = new Driver();
    standing(driver);
    driver.receive(request("BYE", 2, { toTag: "b" }), CALLER);
    expect(driver.told.map(({ kind }) => kind)).toEqual(["early", "confirmed", "acknowledged", "bye"]);
    expect(new Set(driver.told.map(({ id }) => id)).size).toBe(1);
  });

  test("goes on at another pod from its record, at every step", () => {
    const driver = new Driver();
    const invite = ringing(driver);
    driver.takeOver();
    expect(kinds(driver.receive(request("INVITE", 1), CALLER))).toEqual([100]);
    expect(kinds(driver.receive(answer(invite, 180), CALLEE))).toEqual([180]);
    driver.takeOver();
    expect(kinds(driver.receive(answer(invite, 200), CALLEE))).toEqual([200]);
    driver.takeOver();
    expect(kinds(driver.receive(request("ACK", 1, { toTag: "b", branch: "z9hG4bKack" }), CALLER))).toEqual(["ACK"]);
    driver.takeOver();
    expect(kinds(driver.receive(request("BYE", 2, { toTag: "b" }), CALLER))).toEqual(["BYE"]);
    expect(driver.told.map(({ kind }) => kind)).toEqual(["early", "confirmed", "acknowledged", "bye"]);
  });

  test("sends a request of another pod's again, never a second one: the branch is derived", () => {
    const [one, other] = [new Driver(), new Driver()];
    expect(ringing(one).topVia.branch).toBe(ringing(other).topVia.branch);
  });

  test("leaves nothing behind in memory when it is over", () => {
    const driver = new Driver();
    standing(driver);
    const [bye] = driver.receive(request("BYE", 2, { toTag: "b" }), CALLER);
    driver.receive(answer(bye!, 200), CALLEE);
    driver.run(driver.nowMs + 200_000);
    expect([driver.call.invites.size, driver.call.requests.size, driver.call.own.size]).toEqual([0, 0, 0]);
  });

  test("absorbs an INVITE that comes again, and repeats its own until a provisional response", () => {
    const driver = new Driver();
    const invite = ringing(driver);
    driver.run(4_600);
    expect(driver.sent.filter((one) => one.message.method === "INVITE" && one.message.isRequest).map(({ atMs }) => atMs)).toEqual([1_000, 1_500, 2_500, 4_500]);
    expect(kinds(driver.receive(request("INVITE", 1), CALLER))).toEqual([100]);
    driver.receive(answer(invite, 180), CALLEE);
    const before = driver.sent.length;
    driver.run(100_000);
    expect(driver.sent.length).toBe(before);
    expect(kinds(driver.receive(request("INVITE", 1), CALLER))).toEqual([180]);
  });
});

describe("failures", () => {
  test("a 486 goes up once its ACK has gone down, is repeated until the caller's ACK, and ends there", () => {
    const driver = new Driver();
    const invite = ringing(driver);
    expect(kinds(driver.receive(answer(invite, 486), CALLEE))).toEqual(["ACK", 486]);
    driver.run(1_600);
    expect(driver.sent.filter(({ message: one }) => one.status === 486)).toHaveLength(2);
    expect(kinds(driver.receive(request("ACK", 1, { toTag: "b", branch: "z9hG4bKINVITE1" }), CALLER))).toEqual([]);
    const before = driver.sent.length;
    driver.run(60_000);
    expect([driver.sent.length, driver.call.invites.size]).toEqual([before, 0]);
  });

  test("an ACK for a failure with a branch of its own is absorbed", () => {
    const driver = new Driver();
    driver.receive(answer(ringing(driver), 407), CALLEE);
    expect(kinds(driver.receive(request("ACK", 1, { toTag: "b", branch: "z9hG4bKother" }), CALLER))).toEqual([]);
  });

  test("timer B: 408 after 32 s without any response", () => {
    const driver = new Driver();
    ringing(driver);
    driver.run(33_001);
    expect(driver.sent.find(({ message: one }) => one.status === 408)?.atMs).toBe(33_000);
  });

  test("timer C: CANCEL and 408 after 180 s of ringing, counted from the last provisional", () => {
    const driver = new Driver();
    const invite = ringing(driver);
    driver.run(2_000);
    driver.receive(answer(invite, 180), CALLEE);
    driver.run(182_000);
    expect(kinds(driver.sent.filter(({ atMs }) => atMs === 182_000).map((one) => one.message))).toEqual(["CANCEL", 408]);
    expect(kinds(driver.receive(answer(invite, 487), CALLEE))).toEqual(["ACK"]);
    expect(driver.told.map(({ kind }) => kind)).toEqual(["early", "failed"]);
  });

  test("a 503 of the callee's says nothing about us: 500 goes up", () => {
    const driver = new Driver();
    expect(kinds(driver.receive(answer(ringing(driver), 503), CALLEE))).toEqual(["ACK", 500]);
  });

  test.each([
    ["483", (invite: string) => invite.replace("Max-Forwards: 70", "Max-Forwards: 0")],
    ["420", (invite: string) => invite.replace("Contact", "Proxy-Require: x\r\nContact")],
    ["416", (invite: string) => invite.replace("sip:bob@10.0.0.2 SIP", "tel:123 SIP")],
    ["404", (invite: string) => invite.replace("sip:bob@10.0.0.2 SIP", "sip:bob@proxy.test SIP")],
    ["400", (invite: string) => invite.replace("sip:bob@10.0.0.2 SIP", "sip:@ SIP")],
  ])("answers %s", (status, change) => {
    expect(kinds(new Driver().receive(change(request("INVITE", 1)), CALLER))).toEqual([Number(status)]);
  });

  test("answers 482 to a loop and to a merged request, and lets a spiral pass", () => {
    const driver = new Driver();
    const invite = ringing(driver);
    expect(kinds(driver.receive(invite.text, CALLEE))).toEqual([482]);
    expect(kinds(driver.receive(request("INVITE", 1, { branch: "z9hG4bKanotherway" }), CALLER))).toEqual([482]);
    const other = new Driver();
    const spiral = edit(ringing(other)).requestUri("sip:carol@10.0.0.3").toString();
    expect(kinds(other.receive(spiral, CALLEE))).toEqual([100, "INVITE"]);
  });
});

describe("CANCEL", () => {
  const cancel = writeCancel(message(request("INVITE", 1)));

  test("while it rings: 200, CANCEL downstream, 487 up", () => {
    const driver = new Driver();
    const invite = ringing(driver);
    driver.receive(answer(invite, 180), CALLEE);
    const [ok, down] = driver.receive(cancel, CALLER);
    expect([ok!.status, down!.method, down!.topVia.branch]).toEqual([200, "CANCEL", invite.topVia.branch]);
    expect(kinds(driver.receive(answer(down!, 200), CALLEE))).toEqual([]);
    expect(kinds(driver.receive(answer(invite, 487), CALLEE))).toEqual(["ACK", 487]);
    expect(driver.told.at(-1)).toMatchObject({ kind: "failed", cancelled: true, status: 487 });
  });

  test("before any provisional: waits for one; without any, 487 comes from us", () => {
    const waiting = new Driver();
    const invite = ringing(waiting);
    expect(kinds(waiting.receive(cancel, CALLER))).toEqual([200]);
    expect(kinds(waiting.receive(answer(invite, 180), CALLEE))).toEqual(["CANCEL", 180]);
    const silent = new Driver();
    ringing(silent);
    silent.receive(cancel, CALLER);
    silent.run(40_000);
    expect(silent.sent.some(({ message: one }) => one.status === 487)).toBe(true);
  });

  test("that crosses the 200 changes nothing: the call is up", () => {
    const driver = new Driver();
    const invite = ringing(driver);
    driver.receive(answer(invite, 180), CALLEE);
    driver.receive(cancel, CALLER);
    expect(kinds(driver.receive(answer(invite, 200), CALLEE))).toEqual([200]);
    expect(kinds(driver.receive(cancel, CALLER))).toEqual([200]);
    expect(driver.told.map(({ kind }) => kind)).toEqual(["early", "confirmed"]);
  });

  test("survives the pod: the new one still cancels when the provisional comes", () => {
    const driver = new Driver();
    const invite = ringing(driver);
    driver.receive(cancel, CALLER);
    driver.takeOver();
    expect(kinds(driver.receive(answer(invite, 180), CALLEE))).toEqual(["CANCEL", 180]);
  });

  test("for nobody is answered 481", () => {
    expect(kinds(new Driver().receive(cancel, CALLER))).toEqual([481]);
  });
});

describe("forking", () => {
  const uris = ["sip:one@10.0.0.11", "sip:two@10.0.0.12", "sip:three@10.0.0.13"];
  const invites = (driver: Driver): readonly Message[] =>
    driver.sent.filter(({ message: one }) => one.method === "INVITE" && one.isRequest).map((one) => one.message);

  test("serial: the next target is tried when one has failed, and the best response goes up", () => {
    const driver = new Driver({ kind: "relay", targets: uris.map((uri) => [{ uri }]) });
    driver.receive(request("INVITE", 1), CALLER);
    for (const [at, status] of [503, 486, 404].entries()) {
      expect(invites(driver).map(({ requestUri }) => requestUri)).toEqual(uris.slice(0, at + 1));
      driver.takeOver();
      driver.receive(answer(invites(driver)[at]!, status, `t${at}`), CALLEE);
    }
    expect(driver.sent.at(-1)?.message.status).toBe(404);
  });

  test("parallel: the first answer cancels the others, and an answer that crossed makes a dialog of its own", () => {
    const driver = new Driver({ kind: "relay", targets: [uris.map((uri) => ({ uri }))] });
    driver.receive(request("INVITE", 1), CALLER);
    const [one, two, three] = invites(driver);
    driver.receive(answer(two!, 180, "t2"), CALLEE);
    expect(kinds(driver.receive(answer(one!, 200, "t1"), CALLEE))).toEqual(["CANCEL", 200]);
    expect(kinds(driver.receive(answer(three!, 180, "t3"), CALLEE))).toEqual(["CANCEL"]);
    expect(kinds(driver.receive(answer(two!, 200, "t2"), CALLEE))).toEqual([200]);
    expect(kinds(driver.receive(answer(three!, 487, "t3"), CALLEE))).toEqual(["ACK"]);
    const confirmed = driver.told.filter(({ kind }) => kind === "confirmed");
    expect(new Set(confirmed.map(({ id }) => id)).size).toBe(2);
  });

  test("a 6xx ends all: nobody else is asked", () => {
    const driver = new Driver({ kind: "relay", targets: [uris.slice(0, 2), uris.slice(2)].map((group) => group.map((uri) => ({ uri }))) });
    driver.receive(request("INVITE", 1), CALLER);
    const [one, two] = invites(driver);
    driver.receive(answer(two!, 180, "t2"), CALLEE);
    expect(kinds(driver.receive(answer(one!, 603, "t1"), CALLEE))).toEqual(["ACK", "CANCEL"]);
    expect(kinds(driver.receive(answer(two!, 487, "t2"), CALLEE))).toEqual(["ACK", 603]);
    expect(invites(driver)).toHaveLength(2);
  });
});

describe("requests of the cluster's own", () => {
  const command = (driver: Driver, leg: "caller" | "callee", serial: number, method: "OPTIONS" | "BYE" = "OPTIONS"): CallCommand => {
    const confirmed = driver.told.find((event) => event.kind === "confirmed");
    if (confirmed?.kind !== "confirmed") throw new Error("no dialog");
    return { kind: "request", id: confirmed.id, callId: CALL_ID, leg, method, serial, legs: confirmed.legs, answerWithinMs: 32_000 };
  };

  test("take a CSeq of their leg; what passes afterwards moves up, and its answer comes back as it went", () => {
    const driver = new Driver();
    standing(driver);
    const [first] = driver.obey(command(driver, "callee", 1));
    const [second] = driver.obey(command(driver, "caller", 1));
    expect([first!.cseq.number, first!.toTag, first!.requestUri]).toEqual([2, "b", "sip:bob@10.0.0.2"]);
    expect([second!.cseq.number, second!.toTag, second!.requestUri]).toEqual([1, "a", "sip:x@10.0.0.1"]);
    driver.takeOver();
    const [bye] = driver.receive(request("BYE", 2, { toTag: "b" }), CALLER);
    expect(bye!.cseq.number).toBe(3);
    const [ok] = driver.receive(answer(bye!, 200), CALLEE);
    expect([ok!.status, ok!.cseq.number]).toEqual([200, 2]);
  });

  test("are sent once however often the command comes, and their answer is told", () => {
    const driver = new Driver();
    standing(driver);
    const [ping] = driver.obey(command(driver, "callee", 1));
    expect(driver.obey(command(driver, "callee", 1))).toEqual([]);
    driver.takeOver();
    expect(driver.obey(command(driver, "callee", 1))).toEqual([]);
    driver.receive(answer(ping!, 200), CALLEE);
    expect(driver.told.at(-1)).toMatchObject({ kind: "answered", leg: "callee", serial: 1, status: 200 });
  });

  test("that nobody answers are told as 408, after their repetitions", () => {
    const driver = new Driver();
    standing(driver);
    driver.obey(command(driver, "callee", 1));
    driver.run(driver.nowMs + 32_001);
    expect(driver.sent.filter(({ message: one }) => one.method === "OPTIONS")).toHaveLength(11);
    expect(driver.told.at(-1)).toMatchObject({ kind: "answered", status: 408 });
  });

  test("for a dialog that is not there are told as 481", () => {
    const driver = new Driver();
    standing(driver);
    driver.obey({ ...command(driver, "callee", 1), id: "7.other" });
    expect(driver.told.at(-1)).toMatchObject({ kind: "answered", status: 481 });
  });
});

describe("within a dialog", () => {
  const ours = "<sip:proxy.test:5060;lr;did=7.x>";

  test("our own Routes go, the next one is the next hop", () => {
    const driver = new Driver();
    standing(driver);
    const [info] = driver.receive(request("INFO", 2, { toTag: "b", routes: [ours, ours, "<sip:next.test;lr>"] }), CALLER);
    expect(info!.routes.map(({ text }) => text)).toEqual(["<sip:next.test;lr>"]);
    expect(driver.sent.at(-1)?.to).toBe("next.test");
  });

  test("strict routers before and behind us (RFC 3261 §16.4, §16.12)", () => {
    const driver = new Driver();
    standing(driver);
    const [from] = driver.receive(request("INFO", 2, { toTag: "b", uri: "sip:proxy.test:5060;lr;did=7.x", routes: ["<sip:bob@10.0.0.2>"] }), CALLER);
    expect([from!.requestUri, from!.routes.length]).toEqual(["sip:bob@10.0.0.2", 0]);
    const [to] = driver.receive(request("INFO", 3, { toTag: "b", routes: [ours, "<sip:strict.test>"] }), CALLER);
    expect([to!.requestUri, to!.routes.map(({ uri }) => uri)]).toEqual(["sip:strict.test", ["sip:bob@10.0.0.2"]]);
  });

  test("a re-INVITE and its ACK keep one number though a ping comes between", () => {
    const driver = new Driver();
    standing(driver);
    const [, again] = driver.receive(request("INVITE", 2, { toTag: "b" }), CALLER);
    driver.receive(answer(again!, 200), CALLEE);
    const confirmed = driver.told.find((event) => event.kind === "confirmed");
    if (confirmed?.kind !== "confirmed") throw new Error("no dialog");
    driver.obey({
      kind: "request",
      id: confirmed.id,
      callId: CALL_ID,
      leg: "callee",
      method: "OPTIONS",
      serial: 1,
      legs: confirmed.legs,
      answerWithinMs: 1_000,
    });
    const [ack] = driver.receive(request("ACK", 2, { toTag: "b", branch: "z9hG4bKack2" }), CALLER);
    expect([again!.cseq.number, ack!.cseq.number, again!.recordRoutes.length]).toEqual([2, 2, 0]);
    expect(driver.told.filter(({ kind }) => kind === "refreshed")).toHaveLength(2);
  });

  test("a response that nobody waits for goes on by its Via", () => {
    const driver = new Driver();
    const invite = standing(driver);
    driver.call = newCall(CALL_ID, 7);
    expect(kinds(driver.receive(answer(invite, 200), CALLEE))).toEqual([200]);
    expect(driver.sent.at(-1)?.to).toBe("10.0.0.1");
    expect(kinds(driver.receive(writeResponse(message(request("INFO", 9)), 200), CALLEE))).toEqual([]);
  });
});

test("a To tag alone opens no way through: what only claims to be in a dialog is refused where it would not be relayed", () => {
  const strict = (): Driver => new Driver({ kind: "reply", status: 403 });
  const bye = request("BYE", 2, { toTag: "x" });
  expect(kinds(strict().receive(bye, CALLER))).toEqual([481]);
  expect(kinds(strict().receive(request("INVITE", 2, { toTag: "x" }), CALLER))).toEqual([481]);
  expect(kinds(strict().receive(request("ACK", 1, { toTag: "x", routes: ["<sip:proxy.test:5060;lr;did=7.x>"] }), CALLER))).toEqual([]);
  // Our own Record-Route of that Call-ID shows that we were in the path, though the dialog is not known any more.
  const recorded = ringing(new Driver()).recordRoutes[0]!.text;
  expect(kinds(strict().receive(request("BYE", 2, { toTag: "x", routes: [recorded] }), CALLER))).toEqual(["BYE"]);
});

test("an ACK for a failure is not written as a new call", () => {
  const driver = new Driver();
  const invite = message(request("INVITE", 1));
  const [refused] = driver.receive(request("INVITE", 1).replace("Max-Forwards: 70", "Max-Forwards: 0"), CALLER);
  expect(kinds(driver.receive(writeAck(invite, refused!), CALLER))).toEqual([]);
  expect(driver.record.size).toBe(0);
});
