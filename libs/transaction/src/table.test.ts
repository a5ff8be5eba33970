import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  startClientInvite,
  startClientNonInvite,
  startServerInvite,
  startServerNonInvite,
  stepClientInvite,
  stepClientNonInvite,
  stepServerInvite,
  stepServerNonInvite,
  type ClientInviteEvent,
  type ClientNonInviteEvent,
  type ServerInviteEvent,
  type ServerNonInviteEvent,
} from "./index.ts";

/** The table in the comment at the top of a machine's file: state -> event -> what the cell says. */
function tableOf(file: string): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const lines = readFileSync(new URL(file, import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("//") && line.includes("|"))
    .map((line) =>
      line
        .slice(2)
        .split("|")
        .map((cell) => cell.trim()),
    );
  const [head = [], ...rows] = lines;
  return new Map(rows.map(([state = "", ...cells]) => [state, new Map(cells.map((cell, at) => [head[at + 1] ?? "", cell]))]));
}

interface Played {
  readonly state: string;
  readonly actions: readonly string[];
}

/** What a cell promises: the actions, and the state afterwards where it names one. `A: send; B: fail, terminated` has one clause per timer. */
function clauses(cell: string): readonly { readonly timer: string; readonly actions: readonly string[]; readonly state: string | undefined }[] {
  return cell.split(";").map((clause) => {
    const [before, after] = clause.split(":").map((part) => part.trim());
    const words = (after ?? before ?? "")
      .replace(/\(.*?\)/g, "")
      .split(",")
      .map((word) => word.trim());
    const actions = words.filter((word) => ["send", "send last", "deliver", "ack", "fail"].includes(word)).map((word) => word.replace(" last", ""));
    const state = words.find((word) => ["proceeding", "accepted", "completed", "confirmed", "terminated"].includes(word));
    return { timer: after === undefined ? "" : (before ?? ""), actions, state };
  });
}

function check(file: string, state: string, event: string, play: (timer: string) => Played): void {
  const cell = tableOf(file).get(state)?.get(event);
  expect(cell, `${file} has a cell ${state} × ${event}`).toBeDefined();
  for (const clause of clauses(cell ?? "")) {
    const played = play(clause.timer);
    const actions = played.actions.map((action) => (action === "deliverAck" ? "deliver" : action));
    expect({ timer: clause.timer, actions, state: played.state }).toEqual({ timer: clause.timer, actions: clause.actions, state: clause.state ?? state });
  }
}

const ran = (step: { next: { state: string }; actions: readonly { kind: string }[] }): Played => ({
  state: step.next.state,
  actions: step.actions.map(({ kind }) => kind),
});
const WAIT: Readonly<Record<string, number>> = {
  A: 500,
  B: 32_000,
  D: 32_000,
  E: 500,
  F: 32_000,
  G: 500,
  H: 32_000,
  I: 5_000,
  J: 32_000,
  K: 5_000,
  L: 32_000,
  M: 32_000,
};
const after = (timer: string): number => WAIT[timer] ?? 0;

describe("INVITE server transaction plays its table", () => {
  const events: Readonly<Record<string, ServerInviteEvent>> = {
    "INVITE again": { kind: "invite" },
    "1xx": { kind: "respond", status: 180, message: "x" },
    "2xx": { kind: "respond", status: 200, message: "x" },
    "3xx-6xx": { kind: "respond", status: 486, message: "x" },
    ACK: { kind: "ack" },
    time: { kind: "time" },
  };
  const at = (state: string) => {
    const ringing = stepServerInvite(startServerInvite(false), { kind: "respond", status: 180, message: "x" }, 0).next;
    if (state === "proceeding") return ringing;
    if (state === "accepted") return stepServerInvite(ringing, { kind: "respond", status: 200, message: "x" }, 0).next;
    const completed = stepServerInvite(ringing, { kind: "respond", status: 486, message: "x" }, 0).next;
    return state === "completed" ? completed : stepServerInvite(completed, { kind: "ack" }, 0).next;
  };
  for (const [state, cells] of tableOf("./server-invite.ts")) {
    for (const event of cells.keys()) {
      test(`${state} × ${event}`, () => check("./server-invite.ts", state, event, (timer) => ran(stepServerInvite(at(state), events[event]!, after(timer)))));
    }
  }
});

describe("INVITE client transaction plays its table", () => {
  const events: Readonly<Record<string, ClientInviteEvent>> = {
    "1xx": { kind: "response", status: 180 },
    "2xx": { kind: "response", status: 200 },
    "3xx-6xx": { kind: "response", status: 486 },
    time: { kind: "time" },
    "transport error": { kind: "transportError" },
  };
  const at = (state: string) => {
    const calling = startClientInvite(false, 0);
    const status: Readonly<Record<string, number>> = { proceeding: 180, accepted: 200, completed: 486 };
    return state === "calling" ? calling : stepClientInvite(calling, { kind: "response", status: status[state]! }, 0).next;
  };
  for (const [state, cells] of tableOf("./client-invite.ts")) {
    for (const event of cells.keys()) {
      test(`${state} × ${event}`, () => check("./client-invite.ts", state, event, (timer) => ran(stepClientInvite(at(state), events[event]!, after(timer)))));
    }
  }
});

describe("non-INVITE server transaction plays its table", () => {
  const events: Readonly<Record<string, ServerNonInviteEvent>> = {
    "request again": { kind: "request" },
    "1xx": { kind: "respond", status: 100, message: "x" },
    "2xx-6xx": { kind: "respond", status: 200, message: "x" },
    time: { kind: "time" },
  };
  const at = (state: string) => {
    const trying = startServerNonInvite(false);
    if (state === "trying") return trying;
    return stepServerNonInvite(trying, { kind: "respond", status: state === "proceeding" ? 100 : 200, message: "x" }, 0).next;
  };
  for (const [state, cells] of tableOf("./server-non-invite.ts")) {
    for (const event of cells.keys()) {
      test(`${state} × ${event}`, () =>
        check("./server-non-invite.ts", state, event, (timer) => ran(stepServerNonInvite(at(state), events[event]!, after(timer)))));
    }
  }
});

describe("non-INVITE client transaction plays its table", () => {
  const events: Readonly<Record<string, ClientNonInviteEvent>> = {
    "1xx": { kind: "response", status: 100 },
    "2xx-6xx": { kind: "response", status: 200 },
    time: { kind: "time" },
    "transport error": { kind: "transportError" },
  };
  const at = (state: string) => {
    const trying = startClientNonInvite(false, 0);
    if (state === "trying") return trying;
    return stepClientNonInvite(trying, { kind: "response", status: state === "proceeding" ? 100 : 200 }, 0).next;
  };
  for (const [state, cells] of tableOf("./client-non-invite.ts")) {
    for (const event of cells.keys()) {
      test(`${state} × ${event}`, () =>
        check("./client-non-invite.ts", state, event, (timer) => ran(stepClientNonInvite(at(state), events[event]!, after(timer)))));
    }
  }
});

/** Instants at which a transaction sends again by itself, up to its end. */
function repeats<T>(
  start: T,
  due: (state: T) => number,
  step: (state: T, nowMs: number) => { next: T; actions: readonly { kind: string }[] },
): readonly number[] {
  const sent: number[] = [];
  let state = start;
  for (let nowMs = due(state); nowMs !== Infinity; nowMs = due(state)) {
    const { next, actions } = step(state, nowMs);
    if (actions.some(({ kind }) => kind === "send")) sent.push(nowMs);
    state = next;
  }
  return sent;
}

test("INVITE is repeated after 0.5, 1, 2, 4, 8 and 16 s, and given up after 32 s", async () => {
  const { clientInviteDueAtMs } = await import("./index.ts");
  const sent = repeats(startClientInvite(false, 0), clientInviteDueAtMs, (state, nowMs) => stepClientInvite(state, { kind: "time" }, nowMs));
  expect(sent).toEqual([500, 1_500, 3_500, 7_500, 15_500, 31_500]);
});

test("another request is repeated at intervals that double up to 4 s", async () => {
  const { clientNonInviteDueAtMs } = await import("./index.ts");
  const sent = repeats(startClientNonInvite(false, 0), clientNonInviteDueAtMs, (state, nowMs) => stepClientNonInvite(state, { kind: "time" }, nowMs));
  expect(sent).toEqual([500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
});

test("nothing is repeated over a reliable transport", async () => {
  const { clientInviteDueAtMs, clientNonInviteDueAtMs } = await import("./index.ts");
  expect(repeats(startClientInvite(true, 0), clientInviteDueAtMs, (state, nowMs) => stepClientInvite(state, { kind: "time" }, nowMs))).toEqual([]);
  expect(repeats(startClientNonInvite(true, 0), clientNonInviteDueAtMs, (state, nowMs) => stepClientNonInvite(state, { kind: "time" }, nowMs))).toEqual([]);
});
