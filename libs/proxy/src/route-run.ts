import type { DialogTerms } from "@carillon/dialog";
import type { Flow } from "@carillon/wire/flow";
import type { Decision, Target } from "./routing.ts";

/** The routes of a user's script, in OpenSIPS' words. */
export type RouteKind = "request" | "sequential" | "branch" | "reply" | "failure" | "local" | "error";

/** What the proxy core must know of a script: which of its routes run without being armed. */
export interface ScriptShape {
  /** Name and version: what a call remembers, so that all of its routes come from one script. */
  readonly version: string;
  readonly request: boolean;
  readonly sequential: boolean;
  /** The reply route that sees the replies of every transaction. */
  readonly reply: boolean;
  readonly local: boolean;
  readonly error: boolean;
}

/** A route that must run before its call goes on. Everything that the route may see is in here, so that any process can run it, and run it again. */
export interface RouteRun {
  readonly callId: string;
  /** The transaction that waits: key of its server transaction, or branch of a request of the cluster's own. */
  readonly key: string;
  /** Tells this run from others of its transaction. */
  readonly serial: number;
  /** Version of the script that the call began with; empty: the present one. */
  readonly script: string;
  readonly route: RouteKind;
  /** Name of an armed route, of reply routes all names, comma separated; empty for those that have none. */
  readonly name: string;
  /** Where the request came from; undefined for the cluster's own. */
  readonly flow: Flow | undefined;
  readonly request: string;
  /** Of a reply route the response as it would go upstream, of a failure route the best one; empty where the cluster makes it. */
  readonly response: string;
  /** Status of that response; 0 where there is none. */
  readonly status: number;
  /** Of a branch route the targets, of other routes the branches so far. */
  readonly targets: readonly RanTarget[];
  /** Call variables: a JSON object; empty for none. */
  readonly vars: string;
  readonly dialogId: string;
  /** Of an error route: what was at fault. */
  readonly fault: string;
}

export interface RanTarget {
  readonly uri: string;
  /** Final status; 0 while there is none. */
  readonly status: number;
}

/** Named routes that shall run later in the transaction. */
export interface Armed {
  readonly branch?: string | undefined;
  readonly replies?: readonly string[] | undefined;
  readonly failure?: string | undefined;
}

/** What came of a route. */
export interface RouteOutcome {
  /** Why the route did not run to its end; undefined where it did. */
  readonly failed?: string | undefined;
  /** The script that ran. */
  readonly script: string;
  /** What the route decided; undefined: what would happen without it. */
  readonly decision?: Decision | undefined;
  /** The request or response, where the route changed it. */
  readonly text?: string | undefined;
  /** Of a branch route, for each target: the request as it shall leave there, undefined where it stays; null: not at all. */
  readonly branches?: readonly (string | null | undefined)[] | undefined;
  readonly vars?: string | undefined;
  readonly armed?: Armed | undefined;
  readonly terms?: DialogTerms | undefined;
  /** Whether the cluster stays in the path of the dialog; undefined: yes. */
  readonly recordRoute?: boolean | undefined;
  /** Of a reply route: the other branches shall be cancelled. */
  readonly cancelBranches?: boolean | undefined;
}

/** Where an INVITE transaction waits for a route; stored, so that another owner runs it again. */
export interface Waiting {
  readonly route: RouteKind;
  readonly name: string;
  readonly serial: number;
  /** Of a branch route: where the INVITE shall go. */
  readonly group: readonly Target[];
  readonly fault: string;
  /** When it is given up, milliseconds. */
  readonly untilAtMs: number;
}

/** A response that waits for a reply route, and those behind it. In memory only: its sender repeats it, or its ingress does. */
export interface Held {
  readonly serial: number;
  readonly branch: string;
  /** As it came, with our Via. */
  readonly text: string;
  readonly flow: Flow;
}

/** Longest wait for a route, milliseconds: beyond what any route is given. */
export const ROUTE_LIMIT_MS = 60_000;

/** Most responses of a transaction that wait for reply routes. */
export const MOST_HELD = 64;

/** What is armed after a route that armed something. */
export const armedNext = (before: Armed, armed: Armed | undefined): Armed => ({
  branch: armed?.branch ?? before.branch,
  replies: armed?.replies ?? before.replies,
  failure: armed?.failure ?? before.failure,
});

/** The reply routes that a response passes through: the one for all transactions (whose name is empty), then those that were armed. */
export const replyNames = (armed: Armed, policy: { readonly script: ScriptShape | undefined }): string =>
  [...(policy.script?.reply === true ? [""] : []), ...(armed.replies ?? [])].join(",");
