import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeDialog,
  encodeDialog,
  nextDueAtMs,
  stepDialog,
  viewOf,
  type CallCommand,
  type Dialog,
  type DialogAction,
  type DialogInput,
  type DialogPolicy,
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
  caller: { address: "<sip:alice@example.com>;tag=a", tag: "a", contact: "sip:alice@192.0.2.1:5060", routeSet: [], flow: "udp|ingress-1||5060|192.0.2.1" },
  callee: {
    address: "<sip:bob@example.com>;tag=b",
    tag: "b",
    contact: "sip:bob@192.0.2.2:5060",
    routeSet: ["<sip:p.example.com;lr>"],
    flow: "udp|ingress-2||5060|192.0.2.2",
  },
};
const ID = "4c.abc";
const known = { id: ID, callId: "call@192.0.2.1" };

/** A dialog on a virtual clock. */
class Driver {
  nowMs = 0;
  dialog: Dialog | undefined;
  readonly actions: DialogAction[] = [];
  readonly policy: DialogPolicy;

  constructor(change: Partial<DialogPolicy> = {}) {
    this.policy = { ...policy, ...change };
  }

  give(event: DialogInput): readonly DialogAction[] {
    const { next, actions } = stepDialog(this.dialog, event, this.nowMs, this.policy, () => 0.5);
    // What is stored is what the next pod goes on with.
    this.dialog = next === undefined ? undefined : decodeDialog(encodeDialog(next));
    this.actions.push(...actions);
    return actions;
  }

  run(untilMs: number): void {
    for (
      let due = this.dialog === undefined ? Infinity : nextDueAtMs(this.dialog);
      due <= untilMs;
      due = this.dialog === undefined ? Infinity : nextDueAtMs(this.dialog)
    ) {
      this.nowMs = due;
      this.give({ kind: "time" });
    }
    this.nowMs = untilMs;
  }

  up(): this {
    this.give({ kind: "early", ...known, atMs: this.nowMs, legs });
    this.give({ kind: "confirmed", ...known, atMs: this.nowMs, legs });
    this.give({ kind: "acknowledged", id: ID, atMs: this.nowMs });
    return this;
  }

  answer(command: CallCommand, status: number): readonly DialogAction[] {
    if (command.kind !== "request") throw new Error("not a request");
    const { leg, method, serial } = command;
    return this.give({ kind: "answered", id: ID, atMs: this.nowMs, leg, method, serial, status });
  }
}

const commands = (actions: readonly DialogAction[]): readonly CallCommand[] => actions.flatMap((action) => (action.kind === "command" ? [action.command] : []));
const asked = (actions: readonly DialogAction[]): readonly string[] =>
  commands(actions).map((command) => (command.kind === "request" ? `${command.method} ${command.leg} ${command.serial}` : "cancel"));
const end = (dialog: Dialog | undefined): unknown =>
  dialog === undefined ? undefined : [viewOf(dialog).state, viewOf(dialog).endReason, viewOf(dialog).endedBy];

describe("pings", () => {
  test("begin with the ACK, and follow each leg's own answers", () => {
    const driver = new Driver();
    driver.give({ kind: "confirmed", ...known, atMs: 0, legs });
    expect(nextDueAtMs(driver.dialog!)).toBe(100_000);
    driver.give({ kind: "acknowledged", id: ID, atMs: 0 });
    expect(nextDueAtMs(driver.dialog!)).toBe(18_000);
    driver.run(18_000);
    expect(asked(driver.actions)).toEqual(["OPTIONS caller 1", "OPTIONS callee 1"]);
    for (const command of commands(driver.actions)) driver.answer(command, 405);
    driver.run(37_000);
    expect(asked(driver.actions).slice(2)).toEqual(["OPTIONS caller 2", "OPTIONS callee 2"]);
  });

  test.each([408, 481])("a %i ends the dialog: BYE to both legs", (status) => {
    const driver = new Driver().up();
    driver.run(18_000);
    const [, callee] = commands(driver.actions);
    expect(asked(driver.answer(callee!, status))).toEqual(["BYE caller 2", "BYE callee 2"]);
    expect(end(driver.dialog)).toEqual(["ended", "Ping Timeout", "callee"]);
  });

  test("a command that nothing is heard of is given again with its serial, and then counts as unanswered", () => {
    const driver = new Driver({ pingCaller: false }).up();
    driver.run(45_000);
    expect(asked(driver.actions).filter((one) => one.startsWith("OPTIONS"))).toEqual(["OPTIONS callee 1", "OPTIONS callee 1", "OPTIONS callee 1"]);
    expect(end(driver.dialog)).toEqual(["ended", "Ping Timeout", "callee"]);
  });

  test("a leg that is not to be pinged is not", () => {
    const driver = new Driver({ pingCaller: false, pingCallee: false }).up();
    driver.run(99_999);
    expect(asked(driver.actions)).toEqual([]);
  });
});

describe("ends", () => {
  test("the lifetime counts from the answer; BYEs are asked once each and then it is over", () => {
    const driver = new Driver({ pingCaller: false, pingCallee: false });
    driver.give({ kind: "early", ...known, atMs: 0, legs });
    driver.nowMs = 5_000;
    driver.give({ kind: "confirmed", ...known, atMs: 5_000, legs });
    driver.run(104_999);
    expect(asked(driver.actions)).toEqual([]);
    driver.run(105_000);
    expect(asked(driver.actions)).toEqual(["BYE caller 1", "BYE callee 1"]);
    for (const command of commands(driver.actions)) driver.answer(command, 200);
    expect([driver.dialog?.state, end(driver.dialog)]).toEqual(["ended", ["ended", "Lifetime Timeout", null]]);
  });

  test("without bye-on-timeout the dialog is only forgotten", () => {
    const driver = new Driver({ pingCaller: false, pingCallee: false, byeOnTimeout: false }).up();
    driver.run(100_000);
    expect([asked(driver.actions), end(driver.dialog)]).toEqual([[], ["ended", "Lifetime Timeout", null]]);
  });

  test.each([
    ["caller", "Downstream BYE"],
    ["callee", "Upstream BYE"],
  ] as const)("a BYE of the %s is %s", (by, reason) => {
    const driver = new Driver().up();
    driver.give({ kind: "bye", id: ID, atMs: 7, by });
    expect(end(driver.dialog)).toEqual(["ended", reason, by]);
  });

  test("the first reason wins", () => {
    const driver = new Driver().up();
    driver.give({ kind: "end", reason: "MI Termination" });
    driver.give({ kind: "bye", id: ID, atMs: 1, by: "caller" });
    expect(end(driver.dialog)).toEqual(["ended", "MI Termination", null]);
  });

  test("the end of an early dialog is a CANCEL, and the reason stays", () => {
    const driver = new Driver();
    driver.give({ kind: "early", ...known, atMs: 0, legs });
    expect(asked(driver.give({ kind: "end", reason: "MI Termination" }))).toEqual(["cancel"]);
    driver.give({ kind: "failed", id: ID, atMs: 1, status: 487, cancelled: true });
    expect(end(driver.dialog)).toEqual(["ended", "MI Termination", null]);
  });

  test("a 2xx that overtook a failure puts the dialog up; after a BYE nothing does", () => {
    const driver = new Driver();
    driver.give({ kind: "early", ...known, atMs: 0, legs });
    driver.give({ kind: "failed", id: ID, atMs: 1, status: 487, cancelled: true });
    expect(end(driver.dialog)).toEqual(["ended", "Cancelled", null]);
    driver.give({ kind: "confirmed", ...known, atMs: 2, legs });
    expect(driver.dialog?.state).toBe("confirmed");
    driver.give({ kind: "bye", id: ID, atMs: 3, by: "caller" });
    driver.give({ kind: "confirmed", ...known, atMs: 2, legs });
    expect(driver.dialog?.state).toBe("ended");
  });
});

test("a standing dialog is stored in less than 1,000 bytes", () => {
  expect(encodeDialog(new Driver().up().dialog!).length).toBeLessThan(700);
});

test("what is not a dialog of this release is said to be none", () => {
  for (const text of ["", "{}", "[9]", '[1,"other","a","b","",0,["","","",[],""],["","","",[],""]]'])
    expect(() => decodeDialog(text)).toThrow("CARILLON_DIALOG_RECORD");
});

const anyInput = fc.oneof(
  fc.constant<DialogInput>({ kind: "early", ...known, atMs: 0, legs }),
  fc.constant<DialogInput>({ kind: "confirmed", ...known, atMs: 0, legs }),
  fc.constant<DialogInput>({ kind: "acknowledged", id: ID, atMs: 0 }),
  fc.constant<DialogInput>({ kind: "failed", id: ID, atMs: 0, status: 486, cancelled: false }),
  fc.constantFrom("caller" as const, "callee" as const).map((by): DialogInput => ({ kind: "bye", id: ID, atMs: 0, by })),
  fc.constant<DialogInput>({ kind: "end", reason: "MI Termination" }),
  fc.constant<DialogInput>({ kind: "time" }),
  fc
    .record({
      leg: fc.constantFrom("caller" as const, "callee" as const),
      method: fc.constantFrom("OPTIONS" as const, "BYE" as const),
      serial: fc.nat({ max: 4 }),
      status: fc.constantFrom(200, 405, 408, 481),
    })
    .map((answered): DialogInput => ({ kind: "answered", id: ID, atMs: 0, ...answered })),
);

test("every history ends by itself, no ping is early, and no serial is used for two requests", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 30_000 }), anyInput), { maxLength: 30 }), (history) => {
      const driver = new Driver();
      for (const [waitMs, input] of history) {
        driver.run(driver.nowMs + waitMs);
        driver.give(input);
        // A repetition at once changes nothing.
        const before = JSON.stringify(driver.dialog);
        if (input.kind === "time") expect([driver.give(input), JSON.stringify(driver.dialog)]).toEqual([[], before]);
      }
      driver.run(driver.nowMs + policy.earlyLimitMs + policy.lifetimeMs + 500_000);
      expect(driver.dialog === undefined || driver.dialog.state === "ended").toBe(true);
      const serials = new Map<string, string>();
      for (const command of commands(driver.actions)) {
        if (command.kind !== "request") continue;
        const key = `${command.leg} ${command.serial}`;
        // A dialog that a late 2xx put up again begins its serials anew; within one life a serial is one request.
        if (!driver.actions.some((action) => action.kind === "tell" && action.what === "confirmed")) continue;
        if (driver.actions.filter((action) => action.kind === "tell" && action.what === "confirmed").length > 1) continue;
        expect(serials.get(key) ?? command.method).toBe(command.method);
        serials.set(key, command.method);
      }
    }),
  );
});
