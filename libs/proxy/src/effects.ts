import type { DialogEvent } from "@carillon/dialog";
import type { NextHop } from "./next-hop.ts";
import type { RouteRun } from "./route-run.ts";

/** A message to send once the writes are done. `branch` is empty for a response. */
export interface Sending {
  readonly hop: NextHop;
  readonly callId: string;
  readonly branch: string;
  readonly method: string;
  readonly text: string;
}

/** What is counted; a closed list, each a metric label. */
export type Counted =
  | "requestAbsorbed"
  | "requestRepeated"
  | "responseRepeated"
  | "responseStateless"
  | "responseStray"
  | "rejected"
  | "looped"
  | "timerB"
  | "timerC"
  | "timerF"
  | "timerH"
  | "undeliverable"
  | "ackAbsorbed"
  | "ackForwarded"
  | "cancelled"
  | "commandRepeated"
  | "branchLimit"
  | "routeRan"
  | "routeFailed";

/**
 * What a step wants done: first all writes, in one atomic commit together with the dialog events (the outbox); then the sendings, in order. Without writes and events
 * the sendings need not wait, but for earlier ones of the same call.
 */
export class Effects {
  /** Fields of the call's record: name, value, name, value, … */
  readonly fields: string[] = [];
  readonly removed: string[] = [];
  readonly events: DialogEvent[] = [];
  readonly sendings: Sending[] = [];
  readonly counted: Counted[] = [];
  /** Routes to run once the writes are done; what comes of each goes to `routed`. */
  readonly runs: RouteRun[] = [];
  /** Until when transactions of the call may be under way, milliseconds; 0: as before. */
  liveUntilMs = 0;
  /** Until when the record must be readable, milliseconds; 0: as before. */
  keepUntilMs = 0;
  /** When the record shall go, milliseconds, whatever it was kept for before; 0: as before. */
  expireAtMs = 0;

  set(field: string, value: string): void {
    this.fields.push(field, value);
  }

  remove(field: string): void {
    this.removed.push(field);
  }

  send(hop: NextHop, callId: string, branch: string, method: string, text: string): void {
    this.sendings.push({ hop, callId, branch, method, text });
  }

  respond(hop: NextHop, callId: string, text: string): void {
    this.sendings.push({ hop, callId, branch: "", method: "", text });
  }

  tell(event: DialogEvent): void {
    this.events.push(event);
  }

  run(run: RouteRun): void {
    this.runs.push(run);
  }

  count(what: Counted): void {
    this.counted.push(what);
  }

  live(untilMs: number): void {
    if (untilMs > this.liveUntilMs) this.liveUntilMs = untilMs;
  }

  keep(untilMs: number): void {
    if (untilMs > this.keepUntilMs) this.keepUntilMs = untilMs;
  }

  expire(atMs: number): void {
    this.expireAtMs = atMs;
  }

  get writes(): boolean {
    return this.fields.length > 0 || this.removed.length > 0 || this.events.length > 0;
  }
}
