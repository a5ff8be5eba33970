import type { DialogView } from "@carillon/dialog";
import type { Message } from "@carillon/sip";
import { openParty, setUpCall, until, type Party, type StandingCall } from "@carillon/testkit";
import { afterAll, beforeAll, describe, test } from "vitest";
import { startPair, SYSTEMS, WITHOUT_BROKERS, type System } from "./system.ts";

async function dialogOf(system: System, callId: string): Promise<DialogView | undefined> {
  const answer = await fetch(`${system.api}/api/v1/dialogs?callId=${callId}`);
  const { dialogs } = (await answer.json()) as { dialogs: DialogView[] };
  return dialogs[0];
}

const ended = (system: System, callId: string, limitMs = 20_000): Promise<DialogView> =>
  until(
    "the dialog to end",
    async () => {
      const dialog = await dialogOf(system, callId);
      return dialog?.state === "ended" ? dialog : undefined;
    },
    limitMs,
  );

const requests = (party: Party, call: StandingCall, method: string): readonly Message[] =>
  party.seen.map(({ message }) => message).filter((message) => message.isRequest && message.method === method && message.callId === call.callId);

const ofMethod =
  (call: StandingCall, method: string) =>
  (message: Message): boolean =>
    message.isRequest && message.method === method && message.callId === call.callId;

async function openCall(system: System, headers: readonly (readonly [string, string])[] = []): Promise<StandingCall> {
  const [caller, callee] = await Promise.all([openParty({ proxyPort: system.sipPort }), openParty({ proxyPort: system.sipPort })]);
  return setUpCall(caller, callee, headers);
}

describe.each(SYSTEMS)("%s, pings every 5 s", (_name, start) => {
  let system: System;
  beforeAll(async () => {
    system = await start({ CARILLON_PING_INTERVAL: "5", CARILLON_PING_TIMEOUT: "4" });
  });
  afterAll(() => system.stop());

  test.concurrent.for(["caller", "callee"] as const)(
    "pings both legs within their dialog, and the %s's BYE comes with a higher CSeq",
    async (by, { expect }) => {
      const call = await openCall(system);
      const { caller, callee, answer } = call;
      for (const party of [caller, callee]) await until("two pings", () => requests(party, call, "OPTIONS").length >= 2, 20_000);
      await call.hangUp(by);
      const other = by === "caller" ? callee : caller;
      const pingsOfCaller = requests(caller, call, "OPTIONS");
      const pingsOfCallee = requests(callee, call, "OPTIONS");
      for (const ping of pingsOfCaller) expect([ping.fromTag, ping.toTag, ping.requestUri]).toEqual([answer.toTag, answer.fromTag, caller.uri]);
      for (const ping of pingsOfCallee) expect([ping.fromTag, ping.toTag, ping.requestUri]).toEqual([answer.fromTag, answer.toTag, callee.uri]);
      expect(pingsOfCaller.map(({ cseq }) => cseq.number)).toEqual(pingsOfCaller.map((_ping, at) => at + 1));
      expect(pingsOfCallee.map(({ cseq }) => cseq.number)).toEqual(pingsOfCallee.map((_ping, at) => at + 2));
      const [bye] = requests(other, call, "BYE");
      expect(bye?.cseq.number).toBe((other === caller ? pingsOfCaller : pingsOfCallee).at(-1)!.cseq.number + 1);
      const dialog = await ended(system, call.callId);
      expect([dialog.endReason, dialog.endedBy]).toEqual(by === "caller" ? ["Downstream BYE", "caller"] : ["Upstream BYE", "callee"]);
    },
  );

  test.concurrent("sends pings along the route set of the leg", async ({ expect }) => {
    const before = await openParty({ proxyPort: system.sipPort });
    const route = `<sip:127.0.0.1:${before.port};lr>`;
    const call = await openCall(system, [["Record-Route", route]]);
    // A proxy before the caller recorded itself: pings toward the caller go there, and the caller's own port gets none.
    const { message: ping } = await before.receive("a ping at the first hop", ofMethod(call, "OPTIONS"));
    expect(ping.routes.map(({ text }) => text)).toEqual([route]);
    expect(ping.requestUri).toBe(call.caller.uri);
    expect(requests(call.caller, call, "OPTIONS")).toEqual([]);
  });

  test.concurrent.for([
    ["answers 481", 481],
    ["stops answering", undefined],
  ] as const)("ends the dialog when the callee %s to a ping", async ([_what, status], { expect }) => {
    const call = await openCall(system);
    call.callee.pingStatus = status;
    await call.caller.receive("BYE at the caller", ofMethod(call, "BYE"), 20_000);
    const dialog = await ended(system, call.callId);
    expect([dialog.endReason, dialog.endedBy]).toEqual(["Ping Timeout", "callee"]);
    await call.callee.receive("BYE at the callee", ofMethod(call, "BYE"));
  });

  test.concurrent("keeps a dialog whose pings are refused with another status", async ({ expect }) => {
    const call = await openCall(system);
    call.callee.pingStatus = 405;
    await until("three pings", () => requests(call.callee, call, "OPTIONS").length >= 3, 30_000);
    expect((await dialogOf(system, call.callId))?.state).toBe("confirmed");
    await call.hangUp("caller");
  });

  test.concurrent("ends a dialog that the API deletes", async ({ expect }) => {
    const call = await openCall(system);
    const dialog = await until("the dialog", async () => {
      const found = await dialogOf(system, call.callId);
      return found?.state === "confirmed" ? found : undefined;
    });
    const path = `${system.api}/api/v1/dialogs/${dialog.id}`;
    const deleted = await fetch(path, { method: "DELETE" });
    expect(deleted.status).toBe(202);
    await Promise.all([call.caller, call.callee].map((party) => party.receive("BYE", ofMethod(call, "BYE"))));
    const over = await ended(system, call.callId);
    expect([over.endReason, over.endedBy]).toEqual(["MI Termination", null]);
    expect((await fetch(path, { method: "DELETE" })).status).toBe(409);
    expect((await fetch(`${system.api}/api/v1/dialogs/0.nosuch`, { method: "DELETE" })).status).toBe(404);
  });
});

describe.each(SYSTEMS)("%s, lifetime 10 s", (_name, start) => {
  let system: System;
  beforeAll(async () => {
    system = await start({ CARILLON_DIALOG_TIMEOUT: "10", CARILLON_PING_INTERVAL: "3" });
  });
  afterAll(() => system.stop());

  test.concurrent("sends one BYE to each party 10 to 11 s after the answer", async ({ expect }) => {
    const call = await openCall(system);
    const byes = await Promise.all([call.caller, call.callee].map((party) => party.receive("BYE", ofMethod(call, "BYE"), 15_000)));
    for (const { atMs } of byes) {
      // The answer passed through the cluster a moment before the caller saw it.
      expect(atMs - call.answeredAtMs).toBeGreaterThan(9_900);
      expect(atMs - call.answeredAtMs).toBeLessThan(11_000);
    }
    const dialog = await ended(system, call.callId);
    expect(dialog.endReason).toBe("Lifetime Timeout");
    for (const party of [call.caller, call.callee]) {
      const pings = requests(party, call, "OPTIONS");
      const sent = requests(party, call, "BYE");
      expect(sent).toHaveLength(1);
      expect(sent[0]?.cseq.number).toBeGreaterThan(pings.at(-1)!.cseq.number);
    }
  });
});

describe.skipIf(WITHOUT_BROKERS)("a cluster whose processes die", () => {
  let system: System;
  beforeAll(async () => {
    system = await startPair({ CARILLON_DIALOG_TIMEOUT: "25", CARILLON_PING_INTERVAL: "5" });
  });
  afterAll(() => system.stop());

  test("kill -9 of a transaction, a dialog and a timer process: ten standing calls still get pings and end on their lifetime", async ({ expect }) => {
    const calls = await Promise.all(Array.from({ length: 10 }, () => openCall(system)));
    for (const call of calls) await until("a ping before", () => requests(call.callee, call, "OPTIONS").length > 0);
    for (const service of ["transaction", "dialog", "timer"] as const) system.cluster?.of(service)[0]?.signal("SIGKILL");
    const atMs = performance.now();
    for (const call of calls) {
      for (const party of [call.caller, call.callee]) {
        await until("a ping after", () => party.seen.some((seen) => seen.atMs > atMs && ofMethod(call, "OPTIONS")(seen.message)), 15_000);
        await party.receive("BYE", ofMethod(call, "BYE"), 30_000);
        expect(new Set(requests(party, call, "BYE").map(({ cseq }) => cseq.number)).size).toBe(1);
        const numbers = requests(party, call, "OPTIONS").map(({ cseq }) => cseq.number);
        expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      }
      expect((await ended(system, call.callId)).endReason).toBe("Lifetime Timeout");
    }
  });
});
