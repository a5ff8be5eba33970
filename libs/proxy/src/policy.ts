import type { Identity } from "./identity.ts";
import type { ScriptShape } from "./route-run.ts";
import type { Route } from "./routing.ts";

/** What the proxy core goes by; the same on every pod. */
export interface Policy {
  readonly identity: Identity;
  /** The built-in routing; where there is a script, it only says who may pass that claims to be within a dialog. */
  readonly route: Route;
  /** The user's script; undefined: none. May be another one at each call. */
  readonly script: ScriptShape | undefined;
  /** RFC 3261 §16.6 step 11: longest ringing of a branch, milliseconds. */
  readonly timerCMs: number;
  /** How long a confirmed dialog's path is kept, milliseconds: its lifetime and a margin. */
  readonly dialogKeepMs: number;
  /** Makes branches and tags hard to guess from outside; the same on every pod. */
  readonly seed: number;
}
