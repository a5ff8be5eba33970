import type { Dialog, EndReason, LegState } from "./dialog.ts";
import type { LegAddress, LegName } from "./events.ts";

export interface LegView {
  readonly address: string;
  readonly tag: string;
  readonly contact: string;
  readonly routeSet: readonly string[];
}

export interface PingView {
  readonly lastAnsweredAt: string | null;
  readonly status: number | null;
}

/** A dialog as the API and the public events show it. Instants are ISO 8601, UTC. */
export interface DialogView {
  readonly id: string;
  readonly callId: string;
  readonly state: "early" | "confirmed" | "ended";
  readonly caller: LegView;
  readonly callee: LegView;
  readonly createdAt: string;
  readonly answeredAt: string | null;
  readonly acknowledgedAt: string | null;
  readonly lifetimeEndsAt: string | null;
  readonly endedAt: string | null;
  readonly endReason: EndReason | null;
  /** The leg that hung up, or whose ping went unanswered. */
  readonly endedBy: LegName | null;
  readonly pings: { readonly caller: PingView; readonly callee: PingView } | null;
}

export function viewOf(dialog: Dialog): DialogView {
  const { id, callId, legs, createdAtMs } = dialog;
  const up = dialog.state === "confirmed" || dialog.state === "ending" ? dialog : undefined;
  const over = dialog.state === "ending" || dialog.state === "ended" ? dialog : undefined;
  return {
    id,
    callId,
    // While the BYEs are on their way the dialog is over for everybody else.
    state: dialog.state === "ending" ? "ended" : dialog.state,
    caller: legView(legs.caller),
    callee: legView(legs.callee),
    createdAt: iso(createdAtMs),
    answeredAt: dialog.state === "early" ? null : isoOrNull(dialog.answeredAtMs),
    acknowledgedAt: up === undefined ? null : isoOrNull(up.acknowledgedAtMs),
    lifetimeEndsAt: up === undefined ? null : iso(up.lifetimeEndsAtMs),
    endedAt: over === undefined ? null : iso(over.endedAtMs),
    endReason: over?.endReason ?? null,
    endedBy: over?.endedBy ?? null,
    pings: up === undefined ? null : { caller: pingView(up.caller), callee: pingView(up.callee) },
  };
}

// oxlint-disable-next-line no-restricted-globals -- it writes an instant that is given; it reads no clock.
const iso = (atMs: number): string => new Date(atMs).toISOString();
const isoOrNull = (atMs: number): string | null => (atMs === 0 ? null : iso(atMs));
const legView = ({ address, tag, contact, routeSet }: LegAddress): LegView => ({ address, tag, contact, routeSet });
const pingView = ({ answeredAtMs, status }: LegState): PingView => ({ lastAnsweredAt: isoOrNull(answeredAtMs), status: status === 0 ? null : status });
