// A dialog of the cluster (RFC 3261 §12), as OpenSIPS' dialog module keeps it: pings, lifetime, end reasons. CSeq and route of the requests are the business of
// whoever sends them.
//
//            | early | confirmed   | acknowledged | failed | bye   | refreshed | answered                        | end         | time
// -----------+-------+-------------+--------------+--------+-------+-----------+---------------------------------+-------------+------------------------------
// (none)     | early | confirmed   | -            | -      | -     | -         | -                               | -           | -
// early      | -     | confirmed   | -            | ended  | ended | -         | -                               | cancel      | limit: ended
// cancelling | -     | bye, ending | -            | ended  | ended | -         | -                               | -           | again: cancel; limit: ended
// confirmed  | -     | -           | pings        | -      | ended | target    | alive: pings; dead: bye, ending | bye, ending | due: ping; mute: bye, ending; lifetime: bye, ending
// ending     | -     | -           | -            | -      | leg   | -         | leg                             | -           | again: bye; mute: ended
// ended      | -     | confirmed   | -            | -      | -     | -         | -                               | -           | -
//
// "-" changes nothing. "cancelling" is early with a CANCEL asked for; where the 2xx crosses it, BYEs end what it did not. dead: 408, 481, or a ping that nothing is
// heard of. `confirmed` after `ended` happens when a 2xx overtakes a failure (OpenSIPS does the same); after a BYE it stays ended.
import type { CallCommand, DialogEvent, LegName, Legs, OwnMethod } from "./events.ts";

export type EndReason = "Upstream BYE" | "Downstream BYE" | "Lifetime Timeout" | "Ping Timeout" | "MI Termination" | "Cancelled" | "Failed";

export interface DialogPolicy {
  readonly pingIntervalMs: number;
  /** How long a ping may stay unanswered, at most 32,000 (timer F). */
  readonly pingTimeoutMs: number;
  readonly lifetimeMs: number;
  readonly pingCaller: boolean;
  readonly pingCallee: boolean;
  readonly byeOnTimeout: boolean;
  /** How long an ended dialog stays readable. */
  readonly keepEndedMs: number;
  /** An early dialog that nobody ended is given up after this: longer than any INVITE transaction. */
  readonly earlyLimitMs: number;
}

/** A request of the cluster's own toward a leg: none, wanted at a time, or asked for and not yet answered. */
export type Asked =
  | { readonly state: "idle" }
  | { readonly state: "due"; readonly atMs: number }
  /** At `answerDueAtMs` the command is given again, with its serial, or counts as unanswered. `repeats` counts how often it was given again. */
  | { readonly state: "asked"; readonly serial: number; readonly answerDueAtMs: number; readonly repeats: number };

export interface LegState {
  /** Serial of the last command toward this leg; 0 if none. */
  readonly serial: number;
  readonly asked: Asked;
  /** When and how the last ping was answered; 0 if never. */
  readonly answeredAtMs: number;
  readonly status: number;
}

interface Known {
  readonly id: string;
  readonly callId: string;
  readonly legs: Legs;
  readonly createdAtMs: number;
  /** The last entry of the outbox that was taken in; empty if none. */
  readonly seen: string;
}

interface Answered {
  readonly answeredAtMs: number;
  /** 0 while no ACK was seen. */
  readonly acknowledgedAtMs: number;
  readonly lifetimeEndsAtMs: number;
  readonly caller: LegState;
  readonly callee: LegState;
}

export type EarlyDialog = Known & {
  readonly state: "early";
  readonly givenUpAtMs: number;
  /** Why it is being cancelled, if it is. */
  readonly endReason: EndReason | undefined;
  readonly cancel: Asked;
};
export type ConfirmedDialog = Known & Answered & { readonly state: "confirmed" };
export type EndingDialog = Known &
  Answered & { readonly state: "ending"; readonly endReason: EndReason; readonly endedBy: LegName | undefined; readonly endedAtMs: number };
export type EndedDialog = Known & {
  readonly state: "ended";
  readonly endReason: EndReason;
  readonly endedBy: LegName | undefined;
  readonly endedAtMs: number;
  /** 0 for a dialog that was never answered. */
  readonly answeredAtMs: number;
};
export type Dialog = EarlyDialog | ConfirmedDialog | EndingDialog | EndedDialog;

export type DialogInput = DialogEvent | { readonly kind: "time" } | { readonly kind: "end"; readonly reason: EndReason };

export type DialogAction =
  | { readonly kind: "command"; readonly command: CallCommand }
  /** A change that the world outside may want to hear of. */
  | { readonly kind: "tell"; readonly what: "early" | "confirmed" | "ended" };

export interface DialogStep {
  readonly next: Dialog | undefined;
  readonly actions: readonly DialogAction[];
}

const LEGS = ["caller", "callee"] as const;
/** What a command may take on its way to the transaction service and back, beyond the answer itself, milliseconds. */
const COMMAND_MARGIN_MS = 3_000;
/** The first repetition comes this soon, milliseconds: a pod that died between writing down that it asks and asking makes no BYE later than this. */
const FIRST_REPEAT_MS = 3_000;
/** How often a command that nothing was heard of is given again. */
const MOST_REPEATS = 2;
/** BYE: timer F, milliseconds. */
const BYE_WITHIN_MS = 32_000;
/** The first ping comes up to a fifth of the interval early, later ones up to a tenth: calls set up together shall not be pinged together. */
const FIRST_JITTER = 0.2;
const JITTER = 0.1;

const IDLE: Asked = { state: "idle" };
const NEW_LEG: LegState = { serial: 0, asked: IDLE, answeredAtMs: 0, status: 0 };

/** When `{ kind: "time" }` is due next, milliseconds; `Infinity` if nothing runs. */
export function nextDueAtMs(dialog: Dialog): number {
  switch (dialog.state) {
    case "early":
      return Math.min(dialog.givenUpAtMs, askedDueAtMs(dialog.cancel));
    case "confirmed":
      return Math.min(dialog.lifetimeEndsAtMs, askedDueAtMs(dialog.caller.asked), askedDueAtMs(dialog.callee.asked));
    case "ending":
      return Math.min(askedDueAtMs(dialog.caller.asked), askedDueAtMs(dialog.callee.asked));
    case "ended":
      return Infinity;
  }
}

function askedDueAtMs(asked: Asked): number {
  switch (asked.state) {
    case "idle":
      return Infinity;
    case "due":
      return asked.atMs;
    case "asked":
      return asked.answerDueAtMs;
  }
}

/** `random` gives 0 to 1, for the jitter of pings. Repetitions and late comers of every event are harmless. */
export function stepDialog(dialog: Dialog | undefined, event: DialogInput, nowMs: number, policy: DialogPolicy, random: () => number): DialogStep {
  if (dialog === undefined) return begun(event, policy);
  switch (dialog.state) {
    case "early":
      return early(dialog, event, nowMs, policy);
    case "confirmed":
      return confirmed(dialog, event, nowMs, policy, random);
    case "ending":
      return ending(dialog, event, nowMs);
    case "ended":
      // A 2xx that overtook a failure: the call is up after all.
      return event.kind === "confirmed" && dialog.answeredAtMs === 0 ? answered(dialog, event, policy) : same(dialog);
  }
}

function begun(event: DialogInput, policy: DialogPolicy): DialogStep {
  if (event.kind === "confirmed") return answered({ createdAtMs: event.atMs, seen: "" }, event, policy);
  if (event.kind !== "early") return { next: undefined, actions: [] };
  const { id, callId, legs, atMs } = event;
  return {
    next: { state: "early", id, callId, legs, createdAtMs: atMs, seen: "", givenUpAtMs: atMs + policy.earlyLimitMs, endReason: undefined, cancel: IDLE },
    actions: [{ kind: "tell", what: "early" }],
  };
}

function answered(
  before: Pick<Known, "createdAtMs" | "seen">,
  event: DialogEvent & { kind: "confirmed" },
  policy: DialogPolicy,
): DialogStep & { readonly next: ConfirmedDialog } {
  const { id, callId, legs, atMs } = event;
  return {
    next: {
      state: "confirmed",
      id,
      callId,
      legs,
      createdAtMs: before.createdAtMs,
      seen: before.seen,
      answeredAtMs: atMs,
      acknowledgedAtMs: 0,
      lifetimeEndsAtMs: atMs + policy.lifetimeMs,
      caller: NEW_LEG,
      callee: NEW_LEG,
    },
    actions: [{ kind: "tell", what: "confirmed" }],
  };
}

function early(dialog: EarlyDialog, event: DialogInput, nowMs: number, policy: DialogPolicy): DialogStep {
  switch (event.kind) {
    case "confirmed": {
      const up = answered(dialog, event, policy);
      if (dialog.endReason === undefined) return up;
      // The 2xx crossed our CANCEL.
      const over = end(up.next, dialog.endReason, undefined, nowMs);
      return { next: over.next, actions: [...up.actions, ...over.actions] };
    }
    case "failed":
      return ended(dialog, dialog.endReason ?? (event.cancelled ? "Cancelled" : "Failed"), undefined, event.atMs);
    case "bye":
      return ended(dialog, byeReason(event.by), event.by, event.atMs);
    case "end":
      return dialog.endReason === undefined ? cancel(dialog, event.reason, 0, nowMs) : same(dialog);
    case "time":
      if (nowMs >= dialog.givenUpAtMs) return ended(dialog, dialog.endReason ?? "Failed", undefined, nowMs);
      if (dialog.endReason === undefined || dialog.cancel.state !== "asked" || nowMs < dialog.cancel.answerDueAtMs) return same(dialog);
      return dialog.cancel.repeats < MOST_REPEATS ? cancel(dialog, dialog.endReason, dialog.cancel.repeats + 1, nowMs) : same({ ...dialog, cancel: IDLE });
    case "early":
    case "acknowledged":
    case "refreshed":
    case "answered":
      return same(dialog);
  }
}

/** Asks for a CANCEL. Its answer is the `failed` or `confirmed` of the INVITE. */
function cancel(dialog: EarlyDialog, endReason: EndReason, repeats: number, nowMs: number): DialogStep {
  return {
    next: { ...dialog, endReason, cancel: { state: "asked", serial: 1, answerDueAtMs: nowMs + FIRST_REPEAT_MS, repeats } },
    actions: [{ kind: "command", command: { kind: "cancel", id: dialog.id, callId: dialog.callId } }],
  };
}

function confirmed(dialog: ConfirmedDialog, event: DialogInput, nowMs: number, policy: DialogPolicy, random: () => number): DialogStep {
  switch (event.kind) {
    case "acknowledged": {
      if (dialog.acknowledgedAtMs !== 0) return same(dialog);
      const atMs = event.atMs + jittered(policy.pingIntervalMs, FIRST_JITTER, random);
      const due: Asked = { state: "due", atMs };
      return {
        next: {
          ...dialog,
          acknowledgedAtMs: event.atMs,
          caller: policy.pingCaller ? { ...dialog.caller, asked: due } : dialog.caller,
          callee: policy.pingCallee ? { ...dialog.callee, asked: due } : dialog.callee,
        },
        actions: [],
      };
    }
    case "bye":
      return ended(dialog, byeReason(event.by), event.by, event.atMs);
    case "refreshed":
      return same({ ...dialog, legs: { ...dialog.legs, [event.leg]: { ...dialog.legs[event.leg], contact: event.contact, flow: event.flow } } });
    case "answered":
      return pingAnswered(dialog, event, nowMs, policy, random);
    case "end":
      return end(dialog, event.reason, undefined, nowMs);
    case "time":
      return confirmedTime(dialog, nowMs, policy);
    case "early":
    case "confirmed":
    case "failed":
      return same(dialog);
  }
}

function pingAnswered(
  dialog: ConfirmedDialog,
  event: DialogEvent & { kind: "answered" },
  nowMs: number,
  policy: DialogPolicy,
  random: () => number,
): DialogStep {
  const leg = dialog[event.leg];
  if (event.method !== "OPTIONS" || leg.asked.state !== "asked" || leg.asked.serial !== event.serial) return same(dialog);
  if (event.status === 408 || event.status === 481) return end(dialog, "Ping Timeout", event.leg, nowMs);
  const asked: Asked = { state: "due", atMs: event.atMs + jittered(policy.pingIntervalMs, JITTER, random) };
  return same({ ...dialog, [event.leg]: { ...leg, asked, answeredAtMs: event.atMs, status: event.status } });
}

function confirmedTime(dialog: ConfirmedDialog, nowMs: number, policy: DialogPolicy): DialogStep {
  if (nowMs >= dialog.lifetimeEndsAtMs) {
    return policy.byeOnTimeout ? end(dialog, "Lifetime Timeout", undefined, nowMs) : ended(dialog, "Lifetime Timeout", undefined, nowMs);
  }
  let next: ConfirmedDialog = dialog;
  const actions: DialogAction[] = [];
  for (const name of LEGS) {
    const leg = next[name];
    if (askedDueAtMs(leg.asked) > nowMs) continue;
    if (leg.asked.state === "asked" && leg.asked.repeats >= MOST_REPEATS) return end(next, "Ping Timeout", name, nowMs);
    const asking = ask(next, name, "OPTIONS", undefined, policy.pingTimeoutMs, nowMs);
    next = { ...next, [name]: asking.leg };
    actions.push(asking.action);
  }
  return { next, actions };
}

/** Gives a command, or gives it again with the serial that it had. */
function ask(
  dialog: ConfirmedDialog | EndingDialog,
  name: LegName,
  method: OwnMethod,
  reason: EndReason | undefined,
  answerWithinMs: number,
  nowMs: number,
): { readonly leg: LegState; readonly action: DialogAction } {
  const leg = dialog[name];
  const again = leg.asked.state === "asked" ? leg.asked : undefined;
  const serial = again?.serial ?? leg.serial + 1;
  const waitMs = again === undefined ? FIRST_REPEAT_MS : answerWithinMs + COMMAND_MARGIN_MS;
  const { id, callId, legs } = dialog;
  return {
    leg: {
      ...leg,
      serial,
      asked: { state: "asked", serial, answerDueAtMs: nowMs + waitMs, repeats: again === undefined ? 0 : again.repeats + 1 },
    },
    action: { kind: "command", command: { kind: "request", id, callId, leg: name, method, serial, legs, answerWithinMs, reason } },
  };
}

/** BYE to both legs. A ping that is out no longer matters. */
function end(dialog: ConfirmedDialog, endReason: EndReason, endedBy: LegName | undefined, nowMs: number): DialogStep {
  let next: EndingDialog = { ...dialog, state: "ending", endReason, endedBy, endedAtMs: nowMs };
  const actions: DialogAction[] = [];
  for (const name of LEGS) {
    next = { ...next, [name]: { ...next[name], asked: IDLE } };
    const asking = ask(next, name, "BYE", endReason, BYE_WITHIN_MS, nowMs);
    next = { ...next, [name]: asking.leg };
    actions.push(asking.action);
  }
  actions.push({ kind: "tell", what: "ended" });
  return { next, actions };
}

function ending(dialog: EndingDialog, event: DialogInput, nowMs: number): DialogStep {
  switch (event.kind) {
    case "answered": {
      const { asked } = dialog[event.leg];
      if (event.method !== "BYE" || asked.state !== "asked" || asked.serial !== event.serial) return same(dialog);
      return legDone(dialog, event.leg);
    }
    case "bye":
      return legDone(dialog, event.by);
    case "time": {
      let next: EndingDialog = dialog;
      const actions: DialogAction[] = [];
      for (const name of LEGS) {
        const { asked } = next[name];
        if (askedDueAtMs(asked) > nowMs) continue;
        if (asked.state === "asked" && asked.repeats >= MOST_REPEATS) {
          const done = legDone(next, name);
          if (done.next?.state !== "ending") return { next: done.next, actions };
          next = done.next;
          continue;
        }
        const asking = ask(next, name, "BYE", next.endReason, BYE_WITHIN_MS, nowMs);
        next = { ...next, [name]: asking.leg };
        actions.push(asking.action);
      }
      return { next, actions };
    }
    case "early":
    case "confirmed":
    case "acknowledged":
    case "failed":
    case "refreshed":
    case "end":
      return same(dialog);
  }
}

function legDone(dialog: EndingDialog, name: LegName): DialogStep {
  const next: EndingDialog = { ...dialog, [name]: { ...dialog[name], asked: IDLE } };
  if (next.caller.asked.state !== "idle" || next.callee.asked.state !== "idle") return same(next);
  const { id, callId, legs, createdAtMs, seen, endReason, endedBy, endedAtMs, answeredAtMs } = next;
  return same({ state: "ended", id, callId, legs, createdAtMs, seen, endReason, endedBy, endedAtMs, answeredAtMs });
}

function ended(dialog: EarlyDialog | ConfirmedDialog, endReason: EndReason, endedBy: LegName | undefined, endedAtMs: number): DialogStep {
  const { id, callId, legs, createdAtMs, seen } = dialog;
  const answeredAtMs = dialog.state === "confirmed" ? dialog.answeredAtMs : 0;
  return {
    next: { state: "ended", id, callId, legs, createdAtMs, seen, endReason, endedBy, endedAtMs, answeredAtMs },
    actions: [{ kind: "tell", what: "ended" }],
  };
}

/** OpenSIPS' words: upstream is toward the caller, so a BYE that goes upstream comes from the callee. */
const byeReason = (by: LegName): EndReason => (by === "callee" ? "Upstream BYE" : "Downstream BYE");

const jittered = (intervalMs: number, share: number, random: () => number): number => Math.round(intervalMs * (1 - share * random()));

const same = (next: Dialog): DialogStep => ({ next, actions: [] });
