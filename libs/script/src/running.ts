import type { Armed, Decision, DialogTerms, RouteOutcome, RouteRun, ScriptShape, Target as ProxyTarget } from "@carillon/proxy";
import type {
  Arming,
  BranchCall,
  Deciding,
  Dialled,
  DialogOptions,
  DispatchOptions,
  ErrorCall,
  FailureCall,
  HttpAnswer,
  HttpOptions,
  Json,
  LocalCall,
  RelayOptions,
  ReplyCall,
  RequestCall,
  RouteContext,
  Routes,
  SequentialCall,
  Target,
  Vars,
} from "./routes.ts";
import { checkedUri, RequestView, ResponseView } from "./views.ts";

/** What a route can ask of the cluster. */
export interface Doors {
  http(url: string, options: HttpOptions): Promise<HttpAnswer>;
  profileSize(name: string, value: string | undefined): Promise<number>;
  rateLimit(name: string, perSecond: number): Promise<boolean>;
  dialplan(plan: string, number: string): Promise<Dialled | undefined>;
  /** URIs of a dispatcher's set, in the order in which they are to be tried. Empty where none is available. */
  dispatch(options: DispatchOptions, callId: string, user: string): Promise<readonly string[]>;
  log(level: "info" | "warn", text: string, fields: Readonly<Record<string, Json>>): void;
}

/** A script that is loaded: its routes and under which name and version calls remember it. */
export interface LoadedScript {
  readonly name: string;
  readonly version: string;
  readonly routes: Routes;
}

export class ScriptError extends Error {
  readonly code = "CARILLON_SCRIPT_INVALID";

  constructor(message: string, options?: ErrorOptions) {
    super(`CARILLON_SCRIPT_INVALID: ${message}`, options);
    this.name = "ScriptError";
  }
}

const KEYS = new Set(["name", "request", "sequential", "branch", "reply", "failure", "local", "error", "dialog"]);
const ROUTE_NAME = /^[\w.-]{1,64}$/;
const MOST_VARS_BYTES = 16_384;
const MOST_TARGETS = 64;

/** The routes that a module exports as its default. Throws `CARILLON_SCRIPT_INVALID` with what is wrong with it. */
export function checkRoutes(exported: unknown): Routes {
  if (typeof exported !== "object" || exported === null) throw new ScriptError("the script has no default export that is an object of routes");
  const given = exported as Record<string, unknown>;
  for (const key of Object.keys(given)) if (!KEYS.has(key)) throw new ScriptError(`"${key}" is no route; there are ${[...KEYS].join(", ")}`);
  if (typeof given["request"] !== "function") throw new ScriptError("the script has no `request` route");
  for (const key of ["sequential", "local", "error"]) {
    if (given[key] !== undefined && typeof given[key] !== "function") throw new ScriptError(`\`${key}\` is not a function`);
  }
  for (const key of ["branch", "reply", "failure", "dialog"]) {
    const group = given[key];
    if (group === undefined || (key === "reply" && typeof group === "function")) continue;
    if (typeof group !== "object" || group === null) throw new ScriptError(`\`${key}\` is not an object of named routes`);
    for (const [name, route] of Object.entries(group)) {
      if (!ROUTE_NAME.test(name)) throw new ScriptError(`${JSON.stringify(name)} is no name of a route: letters, digits, "_", "." and "-", at most 64`);
      if (typeof route !== "function") throw new ScriptError(`\`${key}.${name}\` is not a function`);
    }
  }
  return given as unknown as Routes;
}

/** What the proxy core must know of a script. */
export const shapeOf = ({ version, routes }: LoadedScript): ScriptShape => ({
  version,
  request: true,
  sequential: routes.sequential !== undefined,
  reply: typeof routes.reply === "function",
  local: routes.local !== undefined,
  error: routes.error !== undefined,
});

/** Runs a route to its end. What it throws becomes an outcome that says so. */
export async function runRoute(script: LoadedScript, run: RouteRun, doors: Doors): Promise<RouteOutcome> {
  try {
    return { script: script.version, ...(await outcomeOf(script.routes, run, doors)) };
  } catch (error) {
    return { script: script.version, failed: described(error, routeName(run)) };
  }
}

/** As it stands in logs: `failure.voicemail`. */
export const routeName = ({ route, name }: RouteRun): string => (name === "" ? route : `${route}.${name}`);

/** A fault of the script as a whole, at no line of it. */
class Undecided extends Error {}

/** The error with the first place in a user's file that its stack names. */
function described(error: unknown, route: string): string {
  if (error instanceof Undecided) return `${route}: ${error.message}`;
  if (!(error instanceof Error)) return `${route}: threw ${typeof error === "string" ? error : typeof error}`;
  const own = (error.stack ?? "")
    .split("\n")
    .find((line) => /file:\/\/|\(\/|at \//.test(line) && !/\/script\/src\/(?:running|views|testing)\.ts|node:internal|\/node_modules\//.test(line));
  const place = own === undefined ? undefined : /([^/\\(]+\.[cm]?[jt]s)(?:\?[^:]*)?:(\d+):\d+/.exec(own);
  return `${route}: ${error.message}${place === null || place === undefined ? "" : ` at ${place[1]}:${place[2]}`}`;
}

type Ran = Omit<RouteOutcome, "script">;

async function outcomeOf(routes: Routes, run: RouteRun, doors: Doors): Promise<Ran> {
  switch (run.route) {
    case "request": {
      const base = requestBase(run, doors);
      const terms = dialogTerms(doors);
      const call: RequestCall = { ...base.call, ...terms.call, vars: base.vars };
      await routes.request(call);
      const decided = await base.decided();
      if (decided.decision === undefined) throw new Undecided("the route ended without reply, relay, fork or drop");
      return { ...decided, vars: changed(run, call.vars), terms: terms.terms(), recordRoute: terms.recordRoute() };
    }
    case "sequential": {
      const base = requestBase(run, doors);
      const call: SequentialCall = { ...base.call, vars: base.vars, dialogId: run.dialogId };
      await routes.sequential?.(call);
      return { ...(await base.decided()), vars: changed(run, call.vars) };
    }
    case "failure": {
      const base = requestBase(run, doors);
      const response = run.response === "" ? undefined : new ResponseView(run.response);
      const call: FailureCall = { ...base.call, vars: base.vars, status: run.status, response, branches: run.targets };
      await named(routes.failure, run)(call);
      return { ...(await base.decided()), vars: changed(run, call.vars) };
    }
    case "error": {
      const base = requestBase(run, doors);
      const { request, source, reply } = base.call;
      const call: ErrorCall = { ...contextOf(run, doors), request, source, reply, error: run.fault };
      await routes.error?.(call);
      return { decision: (await base.decided()).decision };
    }
    case "branch":
      return branchOutcome(routes, run, doors);
    case "reply":
      return replyOutcome(routes, run, doors);
    case "local": {
      const request = new RequestView(run.request);
      const call: LocalCall = { ...contextOf(run, doors), request, dialogId: run.dialogId };
      await routes.local?.(call);
      return { text: textOf(request, run.request) };
    }
  }
}

async function branchOutcome(routes: Routes, run: RouteRun, doors: Doors): Promise<Ran> {
  const branches: (string | null | undefined)[] = [];
  let vars = varsOf(run);
  for (const { uri } of run.targets) {
    const request = new RequestView(run.request);
    request.uri = uri;
    const before = request.message.text;
    let dropped = false;
    const call: BranchCall = { ...contextOf(run, doors), request, target: uri, vars, drop: () => (dropped = true) };
    await named(routes.branch, run)(call);
    ({ vars } = call);
    branches.push(dropped ? null : textOf(request, before));
  }
  return { branches, vars: changed(run, vars) };
}

async function replyOutcome(routes: Routes, run: RouteRun, doors: Doors): Promise<Ran> {
  const response = new ResponseView(run.response);
  const request = new RequestView(run.request);
  let dropped = false;
  let cancelBranches = false;
  const call: ReplyCall = {
    ...contextOf(run, doors),
    response,
    request,
    target: run.targets[0]?.uri ?? "",
    vars: varsOf(run),
    drop: () => {
      if (response.status >= 200) throw new TypeError("a final response cannot be dropped: let a failure route replace it");
      dropped = true;
    },
    cancelBranches: () => {
      cancelBranches = true;
    },
  };
  for (const name of run.name.split(",")) {
    if (name === "") await (routes.reply as (call: ReplyCall) => void | Promise<void>)(call);
    else await named(routes.reply as Readonly<Record<string, (call: ReplyCall) => void | Promise<void>>>, { ...run, name })(call);
  }
  const decision = dropped ? ({ kind: "drop" } as const) : undefined;
  return { text: textOf(response, run.response), vars: changed(run, call.vars), cancelBranches, decision };
}

function named<T>(routes: Readonly<Record<string, (call: T) => void | Promise<void>>> | undefined, run: RouteRun): (call: T) => void | Promise<void> {
  const route = typeof routes === "object" && Object.hasOwn(routes, run.name) ? routes[run.name] : undefined;
  if (route === undefined) throw new Undecided("the script has no such route");
  return route;
}

const textOf = (view: RequestView | ResponseView, before: string): string | undefined => (view.message.text === before ? undefined : view.message.text);

const varsOf = (run: RouteRun): Vars => (run.vars === "" ? {} : (JSON.parse(run.vars) as Vars));

/** The variables as they are stored, in ASCII; undefined where nothing changed. */
function changed(run: RouteRun, vars: Vars): string | undefined {
  const text = JSON.stringify(vars).replaceAll(/[\u0080-\uffff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
  if (text.length > MOST_VARS_BYTES) throw new RangeError(`the call variables are ${text.length} bytes, more than ${MOST_VARS_BYTES}`);
  return text === (run.vars === "" ? "{}" : run.vars) ? undefined : text;
}

function contextOf(run: RouteRun, doors: Doors): RouteContext {
  const about = { route: routeName(run), "sip.call_id": run.callId };
  return {
    callId: run.callId,
    log: {
      info: (text, fields = {}) => doors.log("info", text, { ...fields, ...about }),
      warn: (text, fields = {}) => doors.log("warn", text, { ...fields, ...about }),
    },
    http: (url, options = {}) => doors.http(url, options),
    profileSize: (name, value) => doors.profileSize(name, value),
    rateLimit: (name, perSecond) => {
      if (!(perSecond > 0)) throw new RangeError("a rate limit is a number above 0");
      return doors.rateLimit(name, perSecond);
    },
    dialplan: (plan, number) => doors.dialplan(plan, number),
  };
}

interface RequestBase {
  readonly call: RouteContext & Deciding & Arming & { readonly request: RequestView; readonly source: RequestCall["source"] };
  readonly vars: Vars;
  decided(): Promise<Ran>;
}

/** What all routes have in common that decide about a request. */
function requestBase(run: RouteRun, doors: Doors): RequestBase {
  const request = new RequestView(run.request);
  let armed: Armed = {};
  let decide: () => Promise<Decision | undefined> | Decision | undefined = () => undefined;
  const { flow } = run;
  const relay: Deciding["relay"] = (target = request.uri, options = {}) => {
    if (typeof target === "object" && "dispatcher" in target) {
      const { dispatcher, ...rest } = { ...options, ...target };
      decide = async () => {
        const uris = await doors.dispatch({ dispatcher, ...rest }, run.callId, request.user);
        if (uris.length === 0) return { kind: "reply", status: 503, reason: "No Destination Available" };
        return relayed(uris, { failover: "unavailable", ...rest });
      };
      return;
    }
    const targets = (Array.isArray(target) ? target : [target]) as readonly Target[];
    const decision = relayed(targets, options);
    decide = () => decision;
  };
  return {
    call: {
      ...contextOf(run, doors),
      request,
      source: { transport: flow?.transport ?? "", host: flow?.host ?? "", port: flow?.port ?? 0 },
      reply: (status, reason, headers = {}) => {
        const decision = replied(status, reason, headers);
        decide = () => decision;
      },
      relay,
      fork: (targets, options = {}) => relay(targets, { mode: "parallel", ...options }),
      drop: () => {
        decide = () => ({ kind: "drop" });
      },
      onBranch: (name) => {
        armed = { ...armed, branch: name };
      },
      onReply: (...names) => {
        armed = { ...armed, replies: names };
      },
      onFailure: (name) => {
        armed = { ...armed, failure: name };
      },
    },
    vars: varsOf(run),
    decided: async () => ({ decision: await decide(), text: textOf(request, run.request), armed }),
  };
}

function replied(status: number, reason: string | undefined, headers: Readonly<Record<string, string>>): Decision {
  if (!Number.isInteger(status) || status < 200 || status > 699) throw new RangeError(`reply takes a final status, 200 to 699, not ${status}`);
  for (const text of [reason ?? "", ...Object.entries(headers).flat()])
    if (/[\r\n\0]/.test(text)) throw new TypeError("a reply's reason and headers have no line ends");
  return { kind: "reply", status, reason, headers: Object.entries(headers) };
}

function relayed(targets: readonly Target[], options: RelayOptions): Decision {
  if (targets.length === 0) return { kind: "reply", status: 480 };
  if (targets.length > MOST_TARGETS) throw new RangeError(`${targets.length} targets are more than ${MOST_TARGETS}`);
  const all = targets.map((target) => {
    const { uri, timeLimit = options.timeLimit, q = 1 } = typeof target === "string" ? { uri: target } : target;
    if (timeLimit !== undefined && !(timeLimit >= 0.1 && timeLimit <= 3_600)) throw new RangeError(`timeLimit is 0.1 to 3600 seconds, not ${timeLimit}`);
    const one: ProxyTarget = { uri: checkedUri(uri), ...(timeLimit === undefined ? {} : { limitMs: Math.round(timeLimit * 1_000) }) };
    return { one, q };
  });
  return { kind: "relay", targets: grouped(all, options.mode ?? "serial"), failover: options.failover ?? "any" };
}

function grouped(all: readonly { readonly one: ProxyTarget; readonly q: number }[], mode: "parallel" | "serial" | "q"): readonly (readonly ProxyTarget[])[] {
  switch (mode) {
    case "parallel":
      return [all.map(({ one }) => one)];
    case "serial":
      return all.map(({ one }) => [one]);
    case "q":
      return [...new Set(all.map(({ q }) => q))].toSorted((a, b) => b - a).map((value) => all.filter(({ q }) => q === value).map(({ one }) => one));
  }
}

function dialogTerms(doors: Doors): {
  readonly call: Pick<RequestCall, "createDialog" | "recordRoute" | "dialog">;
  terms(): DialogTerms | undefined;
  recordRoute(): boolean | undefined;
} {
  let terms: DialogTerms | undefined;
  let on: boolean | undefined;
  return {
    call: {
      createDialog: (options: DialogOptions) => {
        const { pingCaller, pingCallee, byeOnTimeout, timeout, pingInterval } = options;
        terms = {
          ...terms,
          pingCaller,
          pingCallee,
          byeOnTimeout,
          lifetimeMs: secondsOf("timeout", timeout, 31_536_000),
          pingIntervalMs: secondsOf("pingInterval", pingInterval, 86_400),
        };
      },
      recordRoute: (wanted) => {
        on = wanted;
      },
      dialog: {
        profile: async (name, value = "", { limit } = {}) => {
          if (!ROUTE_NAME.test(name)) throw new TypeError(`${JSON.stringify(name)} is no name of a profile`);
          if (/[^\u0020-\u007e]/.test(value) || value.length > 128) throw new TypeError("the value of a profile is at most 128 characters of ASCII");
          if (limit !== undefined && (await doors.profileSize(name, value === "" ? undefined : value)) >= limit) return false;
          terms = { ...terms, profiles: { ...terms?.profiles, [name]: value } };
          return true;
        },
      },
    },
    terms: () => terms,
    recordRoute: () => on,
  };
}

function secondsOf(name: string, seconds: number | undefined, most: number): number | undefined {
  if (seconds === undefined) return undefined;
  if (!(seconds >= 1 && seconds <= most)) throw new RangeError(`${name} is 1 to ${most} seconds, not ${seconds}`);
  return Math.round(seconds * 1_000);
}
