// Non-INVITE client transaction: RFC 3261 §17.1.2, figure 6.
//
//              | 1xx                 | 2xx-6xx             | time                                    | transport error
// -------------+---------------------+---------------------+-----------------------------------------+-----------------
// trying       | deliver, proceeding | deliver, completed  | E: send; F: fail, terminated            | fail, terminated
// proceeding   | deliver             | deliver, completed  | E: send (every T2); F: fail, terminated | fail, terminated
// completed    | -                   | -                   | K: terminated                           | -
//
// "-" absorbs.
import { T1_MS, T2_MS, T4_MS } from "./timers.ts";

export type ClientNonInvite =
  | {
      readonly state: "trying" | "proceeding";
      readonly reliable: boolean;
      readonly timerEAtMs: number;
      readonly timerEEveryMs: number;
      readonly timerFAtMs: number;
    }
  | { readonly state: "completed"; readonly timerKAtMs: number }
  | { readonly state: "terminated" };

export type ClientNonInviteEvent = { readonly kind: "response"; readonly status: number } | { readonly kind: "transportError" } | { readonly kind: "time" };

/** `send` repeats the request. */
export type ClientNonInviteAction =
  | { readonly kind: "send" }
  | { readonly kind: "deliver" }
  | { readonly kind: "fail"; readonly reason: "timeout" | "transport" };

export interface ClientNonInviteStep {
  readonly next: ClientNonInvite;
  readonly actions: readonly ClientNonInviteAction[];
}

/** The caller of this sends the request once itself. `answerWithinMs` is timer F, at most 64·T1. */
export function startClientNonInvite(reliable: boolean, nowMs: number, answerWithinMs: number = 64 * T1_MS): ClientNonInvite {
  return {
    state: "trying",
    reliable,
    timerEAtMs: reliable ? Infinity : nowMs + T1_MS,
    timerEEveryMs: T1_MS,
    timerFAtMs: nowMs + Math.min(answerWithinMs, 64 * T1_MS),
  };
}

/** When `{ kind: "time" }` is due next; `Infinity` if no timer runs. */
export function clientNonInviteDueAtMs(transaction: ClientNonInvite): number {
  switch (transaction.state) {
    case "trying":
    case "proceeding":
      return Math.min(transaction.timerEAtMs, transaction.timerFAtMs);
    case "completed":
      return transaction.timerKAtMs;
    case "terminated":
      return Infinity;
  }
}

export function stepClientNonInvite(transaction: ClientNonInvite, event: ClientNonInviteEvent, nowMs: number): ClientNonInviteStep {
  switch (transaction.state) {
    case "trying":
    case "proceeding":
      return waiting(transaction, event, nowMs);
    case "completed":
      return event.kind === "time" && nowMs >= transaction.timerKAtMs ? { next: { state: "terminated" }, actions: [] } : absorbed(transaction);
    case "terminated":
      return absorbed(transaction);
  }
}

function waiting(transaction: ClientNonInvite & { state: "trying" | "proceeding" }, event: ClientNonInviteEvent, nowMs: number): ClientNonInviteStep {
  switch (event.kind) {
    case "response":
      if (event.status < 200) return { next: { ...transaction, state: "proceeding" }, actions: [{ kind: "deliver" }] };
      return { next: { state: "completed", timerKAtMs: transaction.reliable ? nowMs : nowMs + T4_MS }, actions: [{ kind: "deliver" }] };
    case "transportError":
      return { next: { state: "terminated" }, actions: [{ kind: "fail", reason: "transport" }] };
    case "time": {
      if (nowMs >= transaction.timerFAtMs) return { next: { state: "terminated" }, actions: [{ kind: "fail", reason: "timeout" }] };
      if (nowMs < transaction.timerEAtMs) return absorbed(transaction);
      const timerEEveryMs = transaction.state === "proceeding" ? T2_MS : Math.min(2 * transaction.timerEEveryMs, T2_MS);
      return { next: { ...transaction, timerEEveryMs, timerEAtMs: nowMs + timerEEveryMs }, actions: [{ kind: "send" }] };
    }
  }
}

const absorbed = (next: ClientNonInvite): ClientNonInviteStep => ({ next, actions: [] });
