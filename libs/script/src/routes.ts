import type { RequestView, ResponseView } from "./views.ts";

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** Call variables: JSON, stored with the transaction, seen by all its routes on whichever pod they run. At most 16 KiB as text. */
export type Vars = Record<string, Json>;

/** A SIP URI, or one with what belongs to it. */
export type Target =
  | string
  | {
      readonly uri: string;
      /** How long an INVITE may go unanswered there, seconds, 0.1 to 3600; then it is cancelled and counts as 408. */
      readonly timeLimit?: number | undefined;
      /** Preference, 0 to 1 (RFC 3261 §20.10), for `fork` by q; 1 where absent. */
      readonly q?: number | undefined;
    };

export interface RelayOptions {
  /** `parallel`: all at once; `serial`: one after another, as given; `q`: groups of equal q, highest first. Default `serial`. */
  readonly mode?: "parallel" | "serial" | "q" | undefined;
  /** For each target that has none of its own, seconds. */
  readonly timeLimit?: number | undefined;
  /** Which failures lead to the next target: `any` (default), or only 408, 5xx and targets that cannot be reached. */
  readonly failover?: "any" | "unavailable" | undefined;
}

export interface DispatchOptions extends RelayOptions {
  /** Name of a set of destinations of the dispatcher. */
  readonly dispatcher: string;
  /** How a destination is chosen; default: as the set says. */
  readonly algorithm?: string | undefined;
}

/** What a dialog is created with; what is absent is as the configuration says. */
export interface DialogOptions {
  readonly pingCaller?: boolean | undefined;
  readonly pingCallee?: boolean | undefined;
  readonly byeOnTimeout?: boolean | undefined;
  /** Lifetime in seconds, 1 to 31536000. */
  readonly timeout?: number | undefined;
  /** Seconds between pings, 1 to 86400. */
  readonly pingInterval?: number | undefined;
}

export interface HttpOptions {
  readonly method?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Sent as JSON unless it is a string. */
  readonly body?: Json | undefined;
  /** Longest wait for the whole answer, seconds, 0.05 to 30; default 2. */
  readonly timeLimit?: number | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  /** At most 1 MiB. */
  readonly body: string;
  readonly json: () => Json;
}

export interface RouteLog {
  readonly info: (text: string, fields?: Readonly<Record<string, Json>>) => void;
  readonly warn: (text: string, fields?: Readonly<Record<string, Json>>) => void;
}

/** What all routes have. */
export interface RouteContext {
  readonly callId: string;
  readonly log: RouteLog;
  /** Asks a web service. Rejects where no answer came in time. */
  readonly http: (url: string, options?: HttpOptions) => Promise<HttpAnswer>;
  /** How many confirmed and early dialogs of the cluster are in a profile now. */
  readonly profileSize: (name: string, value?: string) => Promise<number>;
  /** Whether one more event of that name may happen within its rate, in this process. */
  readonly rateLimit: (name: string, perSecond: number) => Promise<boolean>;
  /** Matches and rewrites a dialled number by a plan of the dialplan; undefined where no rule matches. */
  readonly dialplan: (plan: string, number: string) => Promise<Dialled | undefined>;
}

export interface Dialled {
  readonly number: string;
  readonly attributes: string;
}

/** What may be done with a request. One of reply, relay, fork and drop, and the last one counts. */
export interface Deciding {
  readonly reply: (status: number, reason?: string, headers?: Readonly<Record<string, string>>) => void;
  /** Without an argument: to the Request-URI, which the route may have changed. */
  readonly relay: (target?: Target | readonly Target[] | DispatchOptions, options?: RelayOptions) => void;
  /** `relay` to many at once, unless `mode` says otherwise. */
  readonly fork: (targets: readonly Target[], options?: RelayOptions) => void;
  /** Says nothing to the sender. */
  readonly drop: () => void;
}

/** Names of routes to run later in the transaction. */
export interface Arming {
  readonly onBranch: (name: string) => void;
  readonly onReply: (...names: readonly string[]) => void;
  readonly onFailure: (name: string) => void;
}

export interface Source {
  readonly transport: string;
  readonly host: string;
  readonly port: number;
}

/** An initial request: INVITE or any other method outside of a dialog. */
export interface RequestCall extends RouteContext, Deciding, Arming {
  readonly request: RequestView;
  readonly source: Source;
  vars: Vars;
  /** The dialog's terms. Every INVITE makes a dialog, unless `recordRoute(false)`. */
  readonly createDialog: (options: DialogOptions) => void;
  /** Whether the cluster stays in the path of the dialog; default true. Off: no pings, no limits, no end on timeout. */
  readonly recordRoute: (on: boolean) => void;
  readonly dialog: ProfileSetting;
}

export interface ProfileSetting {
  /** Counts the dialog in a profile. With a limit: false, and not counted, where that many are in it already. */
  readonly profile: (name: string, value?: string, options?: { readonly limit?: number | undefined }) => Promise<boolean>;
}

/** A request within a dialog. Follows its Route set unless the route decides otherwise. ACK and CANCEL are not routed: they follow their INVITE. */
export interface SequentialCall extends RouteContext, Deciding, Arming {
  readonly request: RequestView;
  readonly source: Source;
  vars: Vars;
  /** Empty where the dialog is not known (any more). */
  readonly dialogId: string;
}

/** A branch, before it leaves. */
export interface BranchCall extends RouteContext {
  /** As it shall leave: its Request-URI is the branch's target. Changes are of this branch only. */
  readonly request: RequestView;
  readonly target: string;
  vars: Vars;
  /** The branch does not leave. */
  readonly drop: () => void;
}

/** A response, before it goes upstream. */
export interface ReplyCall extends RouteContext {
  readonly response: ResponseView;
  /** As it came, or as routes before have changed it. */
  readonly request: RequestView;
  /** The target that answered. */
  readonly target: string;
  vars: Vars;
  /** Keeps a provisional response from the caller. A final one cannot be dropped: a failure route replaces it. */
  readonly drop: () => void;
  /** Cancels the other branches and tries no further ones. */
  readonly cancelBranches: () => void;
}

export interface BranchResult {
  readonly uri: string;
  /** Final status; 0 where there is none. */
  readonly status: number;
}

/** All branches have failed, and the best response is about to go upstream. Without a decision, it does. */
export interface FailureCall extends RouteContext, Deciding, Arming {
  readonly request: RequestView;
  readonly source: Source;
  vars: Vars;
  /** Status of the best response, 300 to 699. */
  readonly status: number;
  /** The best response; undefined where the cluster makes it (nobody answered). */
  readonly response: ResponseView | undefined;
  readonly branches: readonly BranchResult[];
}

/** A request that the cluster itself sends within a dialog: an OPTIONS ping or a BYE. */
export interface LocalCall extends RouteContext {
  readonly request: RequestView;
  readonly dialogId: string;
}

/** A route of this script threw, or did not end in time. Without a decision, the request is answered 500. */
export interface ErrorCall extends RouteContext {
  readonly request: RequestView;
  readonly source: Source;
  /** With the script's own file and line where it is known. */
  readonly error: string;
  readonly reply: (status: number, reason?: string, headers?: Readonly<Record<string, string>>) => void;
}

/** A dialog's life, as the API shows it. */
export interface DialogNews {
  readonly id: string;
  readonly callId: string;
  readonly state: string;
  readonly endReason: string | undefined;
  readonly log: RouteLog;
  readonly http: (url: string, options?: HttpOptions) => Promise<HttpAnswer>;
}

type Run<T> = (call: T) => void | Promise<void>;

/** A routing script: the default export of a module. Every route may be async. */
export interface Routes {
  /** In logs and in the API; default: the name of the file. */
  readonly name?: string | undefined;
  /** Each initial request. */
  readonly request: (call: RequestCall) => void | Promise<void>;
  readonly sequential?: Run<SequentialCall> | undefined;
  readonly branch?: Readonly<Record<string, Run<BranchCall>>> | undefined;
  /** A function sees the replies of every transaction; an object holds routes to be armed by name. */
  readonly reply?: Run<ReplyCall> | Readonly<Record<string, Run<ReplyCall>>> | undefined;
  readonly failure?: Readonly<Record<string, Run<FailureCall>>> | undefined;
  readonly local?: Run<LocalCall> | undefined;
  readonly error?: Run<ErrorCall> | undefined;
  readonly dialog?:
    | {
        readonly created?: Run<DialogNews> | undefined;
        readonly confirmed?: Run<DialogNews> | undefined;
        readonly ended?: Run<DialogNews> | undefined;
      }
    | undefined;
}

/** Only gives the routes their types: `export default defineRoutes({ … })`. */
export const defineRoutes = (routes: Routes): Routes => routes;
