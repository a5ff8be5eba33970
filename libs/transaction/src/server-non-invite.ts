// Non-INVITE server transaction: RFC 3261 §17.2.2, figure 8.
//
//              | request again | 1xx              | 2xx-6xx         | time
// -------------+---------------+------------------+-----------------+--------------
// trying       | -             | send, proceeding | send, completed | -
// proceeding   | send last     | send             | send, completed | -
// completed    | send last     | -                | -               | J: terminated
//
// "-" absorbs.
import { T1_MS } from "./timers.ts";

export type ServerNonInvite =
  | { readonly state: "trying"; readonly reliable: boolean }
  | { readonly state: "proceeding"; readonly reliable: boolean; readonly last: string }
  | { readonly state: "completed"; readonly last: string; readonly timerJAtMs: number }
  | { readonly state: "terminated" };

export type ServerNonInviteEvent =
  | { readonly kind: "request" }
  | { readonly kind: "respond"; readonly status: number; readonly message: string }
  | { readonly kind: "time" };

export interface ServerNonInviteStep {
  readonly next: ServerNonInvite;
  readonly actions: readonly { readonly kind: "send"; readonly message: string }[];
}

export function startServerNonInvite(reliable: boolean): ServerNonInvite {
  return { state: "trying", reliable };
}

/** When `{ kind: "time" }` is due next; `Infinity` if no timer runs. */
export function serverNonInviteDueAtMs(transaction: ServerNonInvite): number {
  return transaction.state === "completed" ? transaction.timerJAtMs : Infinity;
}

export function stepServerNonInvite(transaction: ServerNonInvite, event: ServerNonInviteEvent, nowMs: number): ServerNonInviteStep {
  switch (transaction.state) {
    case "trying":
      return event.kind === "respond" ? responded(transaction, event, nowMs) : absorbed(transaction);
    case "proceeding":
      if (event.kind === "respond") return responded(transaction, event, nowMs);
      return event.kind === "request" ? sent(transaction, transaction.last) : absorbed(transaction);
    case "completed":
      if (event.kind === "time") return nowMs >= transaction.timerJAtMs ? { next: { state: "terminated" }, actions: [] } : absorbed(transaction);
      return event.kind === "request" ? sent(transaction, transaction.last) : absorbed(transaction);
    case "terminated":
      return absorbed(transaction);
  }
}

function responded(
  transaction: ServerNonInvite & { reliable: boolean },
  event: ServerNonInviteEvent & { kind: "respond" },
  nowMs: number,
): ServerNonInviteStep {
  if (event.status < 200) return sent({ state: "proceeding", reliable: transaction.reliable, last: event.message }, event.message);
  return sent({ state: "completed", last: event.message, timerJAtMs: transaction.reliable ? nowMs : nowMs + 64 * T1_MS }, event.message);
}

const sent = (next: ServerNonInvite, message: string): ServerNonInviteStep => ({ next, actions: [{ kind: "send", message }] });
const absorbed = (next: ServerNonInvite): ServerNonInviteStep => ({ next, actions: [] });
