import type { DialogTerms, LegName } from "@carillon/dialog";
import type { Message } from "@carillon/sip";
import type { ClientInvite, ClientNonInvite, ServerInvite, ServerNonInvite } from "@carillon/transaction";
import type { Flow } from "@carillon/wire/flow";
import type { CseqMap } from "./cseq-map.ts";
import type { NextHop } from "./next-hop.ts";
import type { Armed, Held, Waiting } from "./route-run.ts";
import type { Target } from "./routing.ts";

/**
 * All that the cluster knows of a Call-ID: what one owner holds in memory and writes to the call's record. It is changed in place by the functions of this library,
 * which tell through `Effects` what to write and what to do afterwards; nobody else changes it.
 */
export interface Call {
  readonly callId: string;
  readonly partition: number;
  /** INVITE transactions by server transaction key. */
  readonly invites: Map<string, InviteContext>;
  /** Other requests that pass through, by server transaction key. Not stored over UDP: their retransmission rebuilds them. */
  readonly requests: Map<string, RequestContext>;
  /** Requests other than INVITE that wait for a route, by server transaction key. In memory only: their sender repeats them, or its ingress does. */
  readonly waiting: Map<string, WaitingRequest>;
  /** Requests of the cluster's own (pings, BYEs), by branch. */
  readonly own: Map<string, OwnRequest>;
  /** Dialogs by id: what in-dialog requests need on their way through. */
  readonly paths: Map<string, DialogPath>;
}

/** The response context of an INVITE (RFC 3261 §16): one server transaction, a client transaction for each branch. */
export interface InviteContext {
  readonly key: string;
  readonly flow: Flow;
  /** Where responses go. */
  readonly upstream: NextHop;
  readonly cseq: number;
  readonly fromTag: string;
  readonly requestUri: string;
  /** To tag of the request: empty for the first INVITE of a dialog. */
  readonly toTag: string;
  /** To tag of the responses that the cluster makes itself. */
  readonly ownTag: string;
  /** Id of the dialog that this INVITE may create; empty for a re-INVITE, and where the cluster does not stay in the path. */
  dialogId: string;
  readonly startedAtMs: number;
  server: ServerInvite;
  branches: InviteBranch[];
  /** Targets to try when the present branches have failed, group after group. */
  pending: readonly (readonly Target[])[];
  /** Whether only a target that is not available makes way for the next group. */
  failover: "any" | "unavailable";
  cancelled: boolean;
  /** Version of the script that routes it; empty where none does (yet). */
  script: string;
  /** Call variables: a JSON object; empty for none. */
  vars: string;
  armed: Armed;
  terms: DialogTerms | undefined;
  /** The route that it waits for. */
  waiting: Waiting | undefined;
  /** Routes that were run for it. */
  runs: number;
  /** Responses that wait for a reply route, the first of them for one that runs. */
  held: readonly Held[];
  /** Early dialogs that were told, by the To tag that made them. */
  early: { readonly tag: string; readonly id: string; readonly branch: string }[];
  /** To tag of the final response that went upstream, for an ACK that comes with a branch of its own. */
  finalTag: string;
  /** The INVITE as it came; empty when nothing needs it any more. */
  request: string;
  /** `request`, read; made again when needed. */
  message: Message | undefined;
  /** Whether the record holds it. */
  stored: boolean;
}

export interface InviteBranch {
  /** The branch parameter of our Via. */
  readonly id: string;
  readonly target: string;
  readonly hop: NextHop;
  /** The INVITE as it was sent; empty when nothing needs it any more. */
  sent: string;
  client: ClientInvite;
  /** RFC 3261 §16.6 step 11: milliseconds; `Infinity` once a final response is there. */
  timerCAtMs: number;
  /** When the script gives it up, milliseconds. */
  limitAtMs: number;
  /** Whether CANCEL waits for a provisional response, is on its way, or is not wanted. */
  cancel: "no" | "wanted" | "sent";
  cancelling: ClientNonInvite | undefined;
  /** Final status of the branch; 0 while there is none. */
  status: number;
  /** The final response of 300 or more, without our Via; empty if made by us. */
  response: string;
}

export interface RequestContext {
  readonly key: string;
  readonly method: string;
  readonly flow: Flow;
  readonly upstream: NextHop;
  readonly cseq: number;
  readonly request: string;
  readonly branch: string;
  readonly hop: NextHop;
  readonly sent: string;
  /** The dialog that it belongs to, and the leg that sent it; empty and undefined outside of dialogs. */
  readonly dialogId: string;
  readonly from: LegName | undefined;
  readonly stored: boolean;
  readonly script: string;
  readonly vars: string;
  readonly armed: Armed;
  /** The response that waits for a reply route. */
  held: Held | undefined;
  server: ServerNonInvite;
  client: ClientNonInvite;
}

/** A request other than INVITE whose way a route has yet to say. */
export interface WaitingRequest {
  readonly key: string;
  readonly flow: Flow;
  readonly request: string;
  readonly serial: number;
}

export interface OwnRequest {
  readonly branch: string;
  readonly dialogId: string;
  readonly leg: LegName;
  readonly method: "OPTIONS" | "BYE";
  readonly serial: number;
  readonly hop: NextHop;
  sent: string;
  /** Whether a local route has yet to see it. */
  waiting: boolean;
  client: ClientNonInvite;
}

/** A dialog as the path of its requests through the cluster: tags and numbers, no route sets (requests carry their own). */
export interface DialogPath {
  readonly id: string;
  readonly callerTag: string;
  readonly calleeTag: string;
  readonly toCaller: CseqMap;
  readonly toCallee: CseqMap;
  readonly acknowledged: boolean;
  /** A BYE has passed, or was sent: kept for what is still on its way only. */
  readonly over: boolean;
  /** Last command carried out toward each leg, and how it was answered (0: not yet). */
  readonly caller: OwnMark;
  readonly callee: OwnMark;
}

export interface OwnMark {
  readonly serial: number;
  readonly status: number;
}

export const NO_MARK: OwnMark = { serial: 0, status: 0 };

export function newCall(callId: string, partition: number): Call {
  return { callId, partition, invites: new Map(), requests: new Map(), waiting: new Map(), own: new Map(), paths: new Map() };
}

/** Whether all of the call's dialogs are over. */
export function isOver(call: Call): boolean {
  for (const path of call.paths.values()) if (!path.over) return false;
  return true;
}

/** Whether transactions are under way; if not, only the dialogs' paths are left. */
export const isLive = (call: Call): boolean => call.invites.size > 0 || call.requests.size > 0 || call.own.size > 0 || call.waiting.size > 0;
