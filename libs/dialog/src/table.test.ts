import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeDialog,
  encodeDialog,
  nextDueAtMs,
  stepDialog,
  type Dialog,
  type DialogAction,
  type DialogInput,
  type DialogPolicy,
  type DialogStep,
  type Legs,
} from "./index.ts";

const policy: DialogPolicy = {
  pingIntervalMs: 20_000,
  pingTimeoutMs: 4_000,
  lifetimeMs: 100_000,
  pingCaller: true,
  pingCallee: true,
  byeOnTimeout: true,
  keepEndedMs: 60_000,
  earlyLimitMs: 300_000,
};
const legs: Legs = {
  caller: { address: "<sip:a@example.com>;tag=a", tag: "a", contact: "sip:a@192.0.2.1", routeSet: [], flow: "udp|i||5060|192.0.2.1" },
  callee: { address: "<sip:b@example.com>;tag=b", tag: "b", contact: "sip:b@192.0.2.2", routeSet: ["<sip:p;lr>"], flow: "udp|i||5060|192.0.2.2" },
};
const known = { id: "1.x", callId: "call" };
/** The tests count from here: 0 means "never" in a dialog. */
const T0_MS = 1_000_000;
const at = (afterMs: number): { id: string; atMs: number } => ({ id: known.id, atMs: T0_MS + afterMs });

const step = (dialog: Dialog | undefined, input: DialogInput, afterMs: number): DialogStep => stepDialog(dialog, input, T0_MS + afterMs, policy, () => 0);
const dueAfterMs = (dialog: Dialog | undefined): number => (dialog === undefined ? Infinity : nextDueAtMs(dialog) - T0_MS);
function stepped(dialog: Dialog | undefined, ...inputs: readonly DialogInput[]): Dialog {
  let next = dialog;
  for (const input of inputs) next = step(next, input, 0).next;
  if (next === undefined) throw new Error("no dialog");
  return next;
}

const EARLY: DialogInput = { kind: "early", ...known, ...at(0), legs };
const CONFIRMED: DialogInput = { kind: "confirmed", ...known, ...at(0), legs };
const early = stepped(undefined, EARLY);
const END: DialogInput = { kind: "end", reason: "MI Termination" };
const cancelling = stepped(undefined, EARLY, END);
const confirmed = stepped(undefined, CONFIRMED);
const ending = stepped(undefined, CONFIRMED, END);
const STATES: Readonly<Record<string, Dialog | undefined>> = {
  "(none)": undefined,
  early,
  cancelling,
  confirmed,
  ending,
  ended: stepped(undefined, EARLY, { kind: "failed", ...at(0), status: 486, cancelled: false }),
};
const INPUTS: Readonly<Record<string, DialogInput>> = {
  early: EARLY,
  confirmed: CONFIRMED,
  acknowledged: { kind: "acknowledged", ...at(0) },
  failed: { kind: "failed", ...at(0), status: 486, cancelled: false },
  bye: { kind: "bye", ...at(0), by: "callee" },
  refreshed: { kind: "refreshed", ...at(0), leg: "callee", contact: "sip:b@198.51.100.1", flow: "udp|j||5060|198.51.100.1" },
  answered: { kind: "answered", ...at(0), leg: "callee", method: "OPTIONS", serial: 1, status: 200 },
  end: END,
  time: { kind: "time" },
};
const commands = (actions: readonly DialogAction[]): readonly string[] =>
  actions.flatMap((action) => {
    if (action.kind !== "command") return [];
    return action.command.kind === "cancel" ? ["cancel"] : [`${action.command.method} ${action.command.leg} ${action.command.serial}`];
  });
const told = (actions: readonly DialogAction[]): readonly string[] => actions.flatMap((action) => (action.kind === "tell" ? [action.what] : []));

/** What the words of a cell promise. A cell with other words fails the test. */
const CELLS: Readonly<Record<string, (dialog: Dialog | undefined, input: DialogInput) => void>> = {
  "-": (dialog, input) => expect(step(dialog, input, 0)).toEqual({ next: dialog, actions: [] }),
  early: (dialog, input) => {
    const { next, actions } = step(dialog, input, 0);
    expect([next?.state, told(actions), commands(actions)]).toEqual(["early", ["early"], []]);
  },
  confirmed: (dialog, input) => {
    const { next, actions } = step(dialog, input, 0);
    expect([next?.state, told(actions), commands(actions)]).toEqual(["confirmed", ["confirmed"], []]);
  },
  "bye, ending": (dialog, input) => {
    const { next, actions } = step(dialog, input, 0);
    expect([next?.state, commands(actions), told(actions).at(-1)]).toEqual(["ending", ["BYE caller 1", "BYE callee 1"], "ended"]);
    expect(next?.state === "ending" && next.endReason).toBe("MI Termination");
  },
  target: (dialog, input) => {
    const { next, actions } = step(dialog, input, 0);
    expect([next?.state, actions]).toEqual(["confirmed", []]);
    const [, bye] = step(next, END, 6).actions;
    const callee = { ...legs.callee, contact: "sip:b@198.51.100.1", flow: "udp|j||5060|198.51.100.1" };
    expect(bye).toMatchObject({ command: { leg: "callee", legs: { caller: legs.caller, callee } } });
  },
  pings: (dialog, input) => {
    const { next, actions } = step(dialog, input, 0);
    expect([next?.state, actions, dueAfterMs(next)]).toEqual(["confirmed", [], 20_000]);
    expect(commands(step(next, { kind: "time" }, 20_000).actions)).toEqual(["OPTIONS caller 1", "OPTIONS callee 1"]);
    // A second ACK does not put the pings off.
    expect(dueAfterMs(step(next, { kind: "acknowledged", ...at(9_000) }, 9_000).next)).toBe(20_000);
  },
  ended: (dialog, input) => {
    const { next, actions } = step(dialog, input, 0);
    expect([next?.state, told(actions), commands(actions)]).toEqual(["ended", ["ended"], []]);
  },
  cancel: (dialog, input) => {
    const { next, actions } = step(dialog, input, 0);
    expect([next?.state, told(actions), commands(actions)]).toEqual(["early", [], ["cancel"]]);
  },
  "alive: pings; dead: bye, ending": (dialog) => {
    const pinged = step(stepped(dialog, INPUTS["acknowledged"]!), { kind: "time" }, 20_000).next;
    for (const status of [408, 481]) {
      const { next, actions } = step(pinged, { ...INPUTS["answered"]!, ...at(20_010), status } as DialogInput, 20_010);
      expect([next?.state, told(actions), commands(actions)]).toEqual(["ending", ["ended"], ["BYE caller 2", "BYE callee 2"]]);
    }
    for (const status of [200, 405, 486, 500, 603]) {
      const { next, actions } = step(pinged, { ...INPUTS["answered"]!, ...at(20_010), status } as DialogInput, 20_010);
      expect([next?.state, actions]).toEqual(["confirmed", []]);
      expect(next?.state === "confirmed" && [next.callee.status, next.callee.asked]).toEqual([status, { state: "due", atMs: T0_MS + 40_010 }]);
    }
    // The answer to another serial, or to another method, says nothing of this ping.
    expect(step(pinged, { ...INPUTS["answered"]!, serial: 2, status: 408 } as DialogInput, 20_010)).toEqual({ next: pinged, actions: [] });
    expect(step(pinged, { ...INPUTS["answered"]!, method: "BYE", status: 408 } as DialogInput, 20_010)).toEqual({ next: pinged, actions: [] });
  },
  leg: (dialog, input) => {
    const callee = input.kind === "answered" ? ({ ...input, method: "BYE" } as const) : input;
    const caller = callee.kind === "answered" ? ({ ...callee, leg: "caller" } as const) : ({ ...callee, by: "caller" } as DialogInput);
    const first = step(dialog, callee, 0);
    expect([first.next?.state, first.actions]).toEqual(["ending", []]);
    expect(first.next?.state === "ending" && [first.next.callee.asked.state, first.next.caller.asked.state]).toEqual(["idle", "asked"]);
    expect(step(first.next, callee, 0)).toEqual({ next: first.next, actions: [] });
    // That it ended was told when it began to.
    const second = step(first.next, caller, 0);
    expect([second.next?.state, second.actions]).toEqual(["ended", []]);
    // The answer to a ping that was out says nothing of the BYE.
    if (input.kind === "answered") expect(step(dialog, input, 0)).toEqual({ next: dialog, actions: [] });
  },
  "again: cancel; limit: ended": (dialog) => {
    let next = dialog;
    expect(step(next, { kind: "time" }, dueAfterMs(next) - 1)).toEqual({ next, actions: [] });
    for (let again = 0; again < 2; again++) {
      const repeated = step(next, { kind: "time" }, dueAfterMs(next));
      expect([repeated.next?.state, commands(repeated.actions), told(repeated.actions)]).toEqual(["early", ["cancel"], []]);
      next = repeated.next;
    }
    next = step(next, { kind: "time" }, dueAfterMs(next)).next;
    expect(dueAfterMs(next)).toBe(300_000);
    const { next: over, actions } = step(next, { kind: "time" }, 300_000);
    expect([over?.state === "ended" && over.endReason, told(actions), commands(actions)]).toEqual(["MI Termination", ["ended"], []]);
  },
  "limit: ended": (dialog) => {
    expect(step(dialog, { kind: "time" }, 299_999)).toEqual({ next: dialog, actions: [] });
    const { next, actions } = step(dialog, { kind: "time" }, 300_000);
    expect([next?.state, told(actions), commands(actions)]).toEqual(["ended", ["ended"], []]);
  },
  "due: ping; mute: bye, ending; lifetime: bye, ending": (dialog) => {
    let next: Dialog | undefined = stepped(dialog, INPUTS["acknowledged"]!);
    expect(step(next, { kind: "time" }, 19_999)).toEqual({ next, actions: [] });
    for (const serial of [1, 1, 1]) {
      const pinging = step(next, { kind: "time" }, dueAfterMs(next));
      expect([pinging.next?.state, commands(pinging.actions)]).toEqual(["confirmed", [`OPTIONS caller ${serial}`, `OPTIONS callee ${serial}`]]);
      next = pinging.next;
    }
    const silent = step(next, { kind: "time" }, dueAfterMs(next));
    expect([silent.next?.state, commands(silent.actions)]).toEqual(["ending", ["BYE caller 2", "BYE callee 2"]]);
    const old = step(dialog, { kind: "time" }, 100_000);
    expect([old.next?.state, commands(old.actions), told(old.actions)]).toEqual(["ending", ["BYE caller 1", "BYE callee 1"], ["ended"]]);
  },
  "again: bye; mute: ended": (dialog) => {
    let next = dialog;
    expect(step(next, { kind: "time" }, dueAfterMs(next) - 1)).toEqual({ next, actions: [] });
    for (const serial of [1, 1]) {
      const repeated = step(next, { kind: "time" }, dueAfterMs(next));
      expect([repeated.next?.state, commands(repeated.actions)]).toEqual(["ending", [`BYE caller ${serial}`, `BYE callee ${serial}`]]);
      next = repeated.next;
    }
    const given = step(next, { kind: "time" }, dueAfterMs(next));
    expect([given.next?.state, given.actions]).toEqual(["ended", []]);
  },
};

const rows = readFileSync(new URL("dialog.ts", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("//") && line.includes("|"))
  .map((line) =>
    line
      .slice(2)
      .split("|")
      .map((cell) => cell.trim()),
  );

describe("the dialog machine plays its table", () => {
  const [[, ...events] = [], ...states] = rows;
  test("has a row for each state and a column for each event", () => {
    expect(states.map(([state]) => state)).toEqual(Object.keys(STATES));
    expect(events).toEqual(Object.keys(INPUTS));
  });
  for (const [state = "", ...cells] of states) {
    for (const [column, cell] of cells.entries()) {
      const event = events[column] ?? "";
      test(`${state} × ${event}: ${cell}`, () => {
        const play = CELLS[cell];
        expect(play, `a cell says "${cell}"`).toBeDefined();
        play!(STATES[state], INPUTS[event]!);
      });
    }
  }
});

test("a dialog that ended with a BYE stays ended whatever comes", () => {
  const over = stepped(confirmed, INPUTS["bye"]!);
  for (const input of Object.values(INPUTS)) expect(step(over, input, 1_000_000)).toEqual({ next: over, actions: [] });
});

const input = fc.oneof(
  fc.constantFrom(...Object.values(INPUTS)),
  fc
    .record({ leg: fc.constantFrom("caller" as const, "callee" as const), serial: fc.integer({ min: 1, max: 3 }), status: fc.constantFrom(200, 408) })
    .map((answered): DialogInput => ({ kind: "answered", ...at(0), method: "BYE", ...answered })),
  fc.constantFrom("caller" as const, "callee" as const).map((by): DialogInput => ({ kind: "bye", ...at(0), by })),
);

test("the record gives back every dialog that a history leads to", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 20_000 }), input), { maxLength: 15 }), (history) => {
      let dialog: Dialog | undefined;
      let nowMs = 0;
      for (const [waitMs, one] of history) {
        nowMs += waitMs;
        dialog = step(dialog, one, nowMs).next;
        if (dialog !== undefined) expect(decodeDialog(encodeDialog(dialog))).toEqual(dialog);
      }
    }),
  );
});
