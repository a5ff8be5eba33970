import type { Asked, Dialog, LegState } from "./dialog.ts";
import type { LegAddress, Legs } from "./events.ts";

// The stored form: a JSON array without names, its first element the version. What a dialog of 12 hours costs in the store is decided here.
const VERSION = 1;

type Address = [address: string, tag: string, contact: string, routeSet: readonly string[], flow: string];
type Leg = [serial: number, answeredAtMs: number, status: number, ...asked: number[]];
type Row = [
  version: number,
  state: string,
  id: string,
  callId: string,
  seen: string,
  createdAtMs: number,
  caller: Address,
  callee: Address,
  ...rest: unknown[],
];

export function encodeDialog(dialog: Dialog): string {
  const { state, id, callId, seen, createdAtMs, legs } = dialog;
  const row: Row = [VERSION, state, id, callId, seen, createdAtMs, addressRow(legs.caller), addressRow(legs.callee)];
  switch (dialog.state) {
    case "early":
      row.push(dialog.givenUpAtMs, dialog.endReason ?? 0, ...askedRow(dialog.cancel));
      break;
    case "confirmed":
      row.push(dialog.answeredAtMs, dialog.acknowledgedAtMs, dialog.lifetimeEndsAtMs, legRow(dialog.caller), legRow(dialog.callee));
      break;
    case "ending":
      row.push(dialog.answeredAtMs, dialog.acknowledgedAtMs, dialog.lifetimeEndsAtMs, legRow(dialog.caller), legRow(dialog.callee));
      row.push(dialog.endReason, dialog.endedBy ?? 0, dialog.endedAtMs);
      break;
    case "ended":
      row.push(dialog.answeredAtMs, dialog.endReason, dialog.endedBy ?? 0, dialog.endedAtMs);
      break;
  }
  return JSON.stringify(row);
}

const addressRow = ({ address, tag, contact, routeSet, flow }: LegAddress): Address => [address, tag, contact, routeSet, flow];

const legRow = ({ serial, answeredAtMs, status, asked }: LegState): Leg => [serial, answeredAtMs, status, ...askedRow(asked)];

function askedRow(asked: Asked): readonly number[] {
  switch (asked.state) {
    case "idle":
      return [];
    case "due":
      return [asked.atMs];
    case "asked":
      return [asked.serial, asked.answerDueAtMs, asked.repeats];
  }
}

/** Throws `CARILLON_DIALOG_RECORD` for what is not a dialog of this or an earlier release. */
export function decodeDialog(text: string): Dialog {
  try {
    return dialogOf(JSON.parse(text) as Row);
  } catch (cause) {
    throw Object.assign(new Error("CARILLON_DIALOG_RECORD: the store holds something that is not a dialog of this release", { cause }), {
      code: "CARILLON_DIALOG_RECORD",
    });
  }
}

function dialogOf(row: Row): Dialog {
  const [version, state, id, callId, seen, createdAtMs, caller, callee, ...rest] = row;
  if (version !== VERSION) throw new Error(`version ${version}`);
  const legs: Legs = { caller: addressOf(caller), callee: addressOf(callee) };
  const known = { id, callId, seen, createdAtMs, legs };
  switch (state) {
    case "early": {
      const [givenUpAtMs, endReason, ...cancel] = rest as [number, never, ...number[]];
      return { state, ...known, givenUpAtMs, endReason: endReason === 0 ? undefined : endReason, cancel: askedOf(cancel) };
    }
    case "confirmed": {
      const [answeredAtMs, acknowledgedAtMs, lifetimeEndsAtMs, one, other] = rest as [number, number, number, Leg, Leg];
      return { state, ...known, answeredAtMs, acknowledgedAtMs, lifetimeEndsAtMs, caller: legOf(one), callee: legOf(other) };
    }
    case "ending": {
      const [answeredAtMs, acknowledgedAtMs, lifetimeEndsAtMs, one, other, endReason, endedBy, endedAtMs] = rest as [
        number,
        number,
        number,
        Leg,
        Leg,
        never,
        never,
        number,
      ];
      const ends = { endReason, endedBy: endedBy === 0 ? undefined : endedBy, endedAtMs };
      return { state, ...known, answeredAtMs, acknowledgedAtMs, lifetimeEndsAtMs, caller: legOf(one), callee: legOf(other), ...ends };
    }
    case "ended": {
      const [answeredAtMs, endReason, endedBy, endedAtMs] = rest as [number, never, never, number];
      return { state, ...known, answeredAtMs, endReason, endedBy: endedBy === 0 ? undefined : endedBy, endedAtMs };
    }
    default:
      throw new Error(`state ${state}`);
  }
}

const addressOf = ([address, tag, contact, routeSet, flow]: Address): LegAddress => ({ address, tag, contact, routeSet, flow });

const legOf = ([serial, answeredAtMs, status, ...asked]: Leg): LegState => ({ serial, asked: askedOf(asked), answeredAtMs, status });

function askedOf([first, answerDueAtMs, repeats]: readonly number[]): Asked {
  if (first === undefined) return { state: "idle" };
  if (answerDueAtMs === undefined || repeats === undefined) return { state: "due", atMs: first };
  return { state: "asked", serial: first, answerDueAtMs, repeats };
}
