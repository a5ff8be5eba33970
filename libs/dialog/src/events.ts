/** An end of a dialog. The caller sent the INVITE. */
export type LegName = "caller" | "callee";

/** Where a leg is reached: what a request from the cluster to this leg needs besides the CSeq. */
export interface LegAddress {
  /** The From value (from the caller) or To value (of the callee), tag included, as it stands in the INVITE and its response. */
  readonly address: string;
  readonly tag: string;
  /** URI of the leg's Contact: the remote target. */
  readonly contact: string;
  /** Route values from the cluster toward the leg, nearest first (RFC 3261 §12.1). */
  readonly routeSet: readonly string[];
  /** The flow on which the leg was last heard; opaque to the dialog (the edge knows it). */
  readonly flow: string;
}

/** Both legs of a dialog as its INVITE and the response with the callee's tag told them. */
export interface Legs {
  readonly caller: LegAddress;
  readonly callee: LegAddress;
}

/** What a dialog is created with, where it differs from the configuration. Times in milliseconds. */
export interface DialogTerms {
  readonly pingCaller?: boolean | undefined;
  readonly pingCallee?: boolean | undefined;
  readonly byeOnTimeout?: boolean | undefined;
  readonly lifetimeMs?: number | undefined;
  readonly pingIntervalMs?: number | undefined;
  /** Profiles that it is counted in, by name; the value is empty for a profile without values. */
  readonly profiles?: Readonly<Record<string, string>> | undefined;
}

/** The dialog that a new one takes the place of (RFC 3891). */
export interface ReplacedDialog {
  readonly callId: string;
  readonly toTag: string;
  readonly fromTag: string;
}

/** How a dialog begins. */
export interface Beginning {
  readonly id: string;
  readonly callId: string;
  readonly atMs: number;
  readonly legs: Legs;
  readonly terms?: DialogTerms | undefined;
  readonly replaces?: ReplacedDialog | undefined;
}

/** What the transaction service tells of a dialog. `id` is the dialog's id, `atMs` an instant of the cluster's clock. */
export type DialogEvent =
  | (Beginning & { readonly kind: "early" })
  | (Beginning & { readonly kind: "confirmed" })
  | { readonly kind: "acknowledged"; readonly id: string; readonly atMs: number }
  /** The INVITE ended without a 2xx for this dialog. `status` is the final response that went upstream. */
  | { readonly kind: "failed"; readonly id: string; readonly atMs: number; readonly status: number; readonly cancelled: boolean }
  | { readonly kind: "bye"; readonly id: string; readonly atMs: number; readonly by: LegName }
  /** A re-INVITE or UPDATE changed a leg's remote target (RFC 3261 §12.2). */
  | { readonly kind: "refreshed"; readonly id: string; readonly atMs: number; readonly leg: LegName; readonly contact: string; readonly flow: string }
  /** A request of the cluster's own was answered (or timed out: status 408, `timedOut`). `serial` is that of the command. */
  | {
      readonly kind: "answered";
      readonly id: string;
      readonly atMs: number;
      readonly leg: LegName;
      readonly method: OwnMethod;
      readonly serial: number;
      readonly status: number;
    };

export type OwnMethod = "OPTIONS" | "BYE";

/** What the dialog service asks of the transaction service (`transaction.do.<p>`). Repeating a command is harmless: `serial` grows per dialog and leg. */
export type CallCommand =
  | {
      readonly kind: "request";
      readonly id: string;
      readonly callId: string;
      readonly leg: LegName;
      readonly method: OwnMethod;
      readonly serial: number;
      readonly legs: Legs;
      /** Longest wait for a final response, milliseconds (at most 64·T1). */
      readonly answerWithinMs: number;
      /** The end reason of a BYE, for its Reason header; absent for OPTIONS. */
      readonly reason?: string | undefined;
    }
  /** Ends an early dialog: CANCEL downstream, 487 upstream. */
  | { readonly kind: "cancel"; readonly id: string; readonly callId: string };
