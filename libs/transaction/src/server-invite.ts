// INVITE server transaction: RFC 3261 §17.2.1, figure 7, with RFC 6026 §7.1 (Accepted, timer L).
//
//              | INVITE again | 1xx      | 2xx            | 3xx-6xx           | ACK              | time
// -------------+--------------+----------+----------------+-------------------+------------------+----------------------
// proceeding   | send last    | send     | send, accepted | send, completed   | -                | -
// accepted     | -            | -        | send           | -                 | deliver          | L: terminated
// completed    | send last    | -        | -              | -                 | confirmed        | G: send last; H: fail, terminated
// confirmed    | -            | -        | -              | -                 | -                | I: terminated
//
// "-" absorbs. Timers are deadlines in the state: what is stored is enough to go on elsewhere.
import { T1_MS, T2_MS, T4_MS } from "./timers.ts";

export type ServerInvite =
  | { readonly state: "proceeding"; readonly reliable: boolean; readonly last: string | undefined }
  | { readonly state: "accepted"; readonly timerLAtMs: number }
  | {
      readonly state: "completed";
      readonly reliable: boolean;
      readonly last: string;
      readonly timerGAtMs: number;
      readonly timerGEveryMs: number;
      readonly timerHAtMs: number;
    }
  | { readonly state: "confirmed"; readonly timerIAtMs: number }
  | { readonly state: "terminated" };

export type ServerInviteEvent =
  | { readonly kind: "invite" }
  | { readonly kind: "ack" }
  | { readonly kind: "respond"; readonly status: number; readonly message: string }
  | { readonly kind: "time" };

export type ServerInviteAction =
  | { readonly kind: "send"; readonly message: string }
  | { readonly kind: "deliverAck" }
  | { readonly kind: "fail"; readonly reason: "no ACK" };

export interface ServerInviteStep {
  readonly next: ServerInvite;
  readonly actions: readonly ServerInviteAction[];
}

export function startServerInvite(reliable: boolean): ServerInvite {
  return { state: "proceeding", reliable, last: undefined };
}

/** When `{ kind: "time" }` is due next; `Infinity` if no timer runs. Milliseconds of the clock given to `stepServerInvite`. */
export function serverInviteDueAtMs(transaction: ServerInvite): number {
  switch (transaction.state) {
    case "proceeding":
    case "terminated":
      return Infinity;
    case "accepted":
      return transaction.timerLAtMs;
    case "completed":
      return Math.min(transaction.timerGAtMs, transaction.timerHAtMs);
    case "confirmed":
      return transaction.timerIAtMs;
  }
}

export function stepServerInvite(transaction: ServerInvite, event: ServerInviteEvent, nowMs: number): ServerInviteStep {
  switch (transaction.state) {
    case "proceeding":
      return proceeding(transaction, event, nowMs);
    case "accepted":
      return accepted(transaction, event, nowMs);
    case "completed":
      return completed(transaction, event, nowMs);
    case "confirmed":
      return event.kind === "time" && nowMs >= transaction.timerIAtMs ? ended() : absorbed(transaction);
    case "terminated":
      return absorbed(transaction);
  }
}

function proceeding(transaction: ServerInvite & { state: "proceeding" }, event: ServerInviteEvent, nowMs: number): ServerInviteStep {
  switch (event.kind) {
    case "invite":
      return transaction.last === undefined ? absorbed(transaction) : sent(transaction, transaction.last);
    case "respond":
      if (event.status < 200) return sent({ ...transaction, last: event.message }, event.message);
      // RFC 6026 §7.1: a 2xx is the core's to retransmit, so no timer G here.
      if (event.status < 300) return sent({ state: "accepted", timerLAtMs: nowMs + 64 * T1_MS }, event.message);
      return sent(
        {
          state: "completed",
          reliable: transaction.reliable,
          last: event.message,
          timerGAtMs: transaction.reliable ? Infinity : nowMs + T1_MS,
          timerGEveryMs: T1_MS,
          timerHAtMs: nowMs + 64 * T1_MS,
        },
        event.message,
      );
    case "ack":
    case "time":
      return absorbed(transaction);
  }
}

function accepted(transaction: ServerInvite & { state: "accepted" }, event: ServerInviteEvent, nowMs: number): ServerInviteStep {
  switch (event.kind) {
    case "respond":
      return event.status >= 200 && event.status < 300 ? sent(transaction, event.message) : absorbed(transaction);
    case "ack":
      return { next: transaction, actions: [{ kind: "deliverAck" }] };
    case "time":
      return nowMs >= transaction.timerLAtMs ? ended() : absorbed(transaction);
    case "invite":
      return absorbed(transaction);
  }
}

function completed(transaction: ServerInvite & { state: "completed" }, event: ServerInviteEvent, nowMs: number): ServerInviteStep {
  switch (event.kind) {
    case "invite":
      return sent(transaction, transaction.last);
    case "ack":
      return { next: { state: "confirmed", timerIAtMs: transaction.reliable ? nowMs : nowMs + T4_MS }, actions: [] };
    case "time": {
      if (nowMs >= transaction.timerHAtMs) return { next: { state: "terminated" }, actions: [{ kind: "fail", reason: "no ACK" }] };
      if (nowMs < transaction.timerGAtMs) return absorbed(transaction);
      const timerGEveryMs = Math.min(2 * transaction.timerGEveryMs, T2_MS);
      return sent({ ...transaction, timerGEveryMs, timerGAtMs: nowMs + timerGEveryMs }, transaction.last);
    }
    case "respond":
      return absorbed(transaction);
  }
}

const sent = (next: ServerInvite, message: string): ServerInviteStep => ({ next, actions: [{ kind: "send", message }] });
const absorbed = (next: ServerInvite): ServerInviteStep => ({ next, actions: [] });
const ended = (): ServerInviteStep => ({ next: { state: "terminated" }, actions: [] });
