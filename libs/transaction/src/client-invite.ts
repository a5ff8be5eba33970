// INVITE client transaction: RFC 3261 §17.1.1, figure 5, with RFC 6026 §7.2 (Accepted, timer M).
//
//              | 1xx                 | 2xx                  | 3xx-6xx                    | time                        | transport error
// -------------+---------------------+----------------------+----------------------------+-----------------------------+----------------
// calling      | deliver, proceeding | deliver, accepted    | ack, deliver, completed    | A: send; B: fail, terminated | fail, terminated
// proceeding   | deliver             | deliver, accepted    | ack, deliver, completed    | -                           | -
// accepted     | -                   | deliver              | -                          | M: terminated               | -
// completed    | -                   | -                    | ack                        | D: terminated               | -
//
// "-" absorbs. Timer C is the proxy's own (RFC 3261 §16.8) and not kept here.
import { T1_MS, TIMER_D_MS } from "./timers.ts";

export type ClientInvite =
  | { readonly state: "calling"; readonly reliable: boolean; readonly timerAAtMs: number; readonly timerAEveryMs: number; readonly timerBAtMs: number }
  | { readonly state: "proceeding"; readonly reliable: boolean }
  | { readonly state: "accepted"; readonly timerMAtMs: number }
  | { readonly state: "completed"; readonly timerDAtMs: number }
  | { readonly state: "terminated" };

export type ClientInviteEvent = { readonly kind: "response"; readonly status: number } | { readonly kind: "transportError" } | { readonly kind: "time" };

/** What the owner of the transaction does, in this order. `send` repeats the INVITE; `ack` answers the response at hand. */
export type ClientInviteAction =
  | { readonly kind: "send" }
  | { readonly kind: "ack" }
  | { readonly kind: "deliver" }
  | { readonly kind: "fail"; readonly reason: "timeout" | "transport" };

export interface ClientInviteStep {
  readonly next: ClientInvite;
  readonly actions: readonly ClientInviteAction[];
}

/** The caller of this sends the INVITE once itself. */
export function startClientInvite(reliable: boolean, nowMs: number): ClientInvite {
  return { state: "calling", reliable, timerAAtMs: reliable ? Infinity : nowMs + T1_MS, timerAEveryMs: T1_MS, timerBAtMs: nowMs + 64 * T1_MS };
}

/** When `{ kind: "time" }` is due next; `Infinity` if no timer runs. Milliseconds of the clock given to `stepClientInvite`. */
export function clientInviteDueAtMs(transaction: ClientInvite): number {
  switch (transaction.state) {
    case "calling":
      return Math.min(transaction.timerAAtMs, transaction.timerBAtMs);
    case "accepted":
      return transaction.timerMAtMs;
    case "completed":
      return transaction.timerDAtMs;
    case "proceeding":
    case "terminated":
      return Infinity;
  }
}

export function stepClientInvite(transaction: ClientInvite, event: ClientInviteEvent, nowMs: number): ClientInviteStep {
  switch (transaction.state) {
    case "calling":
      return calling(transaction, event, nowMs);
    case "proceeding":
      return event.kind === "response" ? responded(transaction, event.status, nowMs) : absorbed(transaction);
    case "accepted":
      if (event.kind === "time") return nowMs >= transaction.timerMAtMs ? ended() : absorbed(transaction);
      return event.kind === "response" && event.status >= 200 && event.status < 300 ? delivered(transaction) : absorbed(transaction);
    case "completed":
      if (event.kind === "time") return nowMs >= transaction.timerDAtMs ? ended() : absorbed(transaction);
      return event.kind === "response" && event.status >= 300 ? { next: transaction, actions: [{ kind: "ack" }] } : absorbed(transaction);
    case "terminated":
      return absorbed(transaction);
  }
}

function calling(transaction: ClientInvite & { state: "calling" }, event: ClientInviteEvent, nowMs: number): ClientInviteStep {
  switch (event.kind) {
    case "response":
      return responded(transaction, event.status, nowMs);
    case "transportError":
      return { next: { state: "terminated" }, actions: [{ kind: "fail", reason: "transport" }] };
    case "time": {
      if (nowMs >= transaction.timerBAtMs) return { next: { state: "terminated" }, actions: [{ kind: "fail", reason: "timeout" }] };
      if (nowMs < transaction.timerAAtMs) return absorbed(transaction);
      const timerAEveryMs = 2 * transaction.timerAEveryMs;
      return { next: { ...transaction, timerAEveryMs, timerAAtMs: nowMs + timerAEveryMs }, actions: [{ kind: "send" }] };
    }
  }
}

function responded(transaction: ClientInvite & { reliable: boolean }, status: number, nowMs: number): ClientInviteStep {
  if (status < 200) return delivered({ state: "proceeding", reliable: transaction.reliable });
  if (status < 300) return delivered({ state: "accepted", timerMAtMs: nowMs + 64 * T1_MS });
  return {
    next: { state: "completed", timerDAtMs: transaction.reliable ? nowMs : nowMs + TIMER_D_MS },
    actions: [{ kind: "ack" }, { kind: "deliver" }],
  };
}

const delivered = (next: ClientInvite): ClientInviteStep => ({ next, actions: [{ kind: "deliver" }] });
const absorbed = (next: ClientInvite): ClientInviteStep => ({ next, actions: [] });
const ended = (): ClientInviteStep => ({ next: { state: "terminated" }, actions: [] });
