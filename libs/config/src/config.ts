import { parse } from "yaml";
import { CarillonError } from "./error.ts";
import type { HostPort, Listen } from "./kinds.ts";
import { SETTINGS, type Setting } from "./settings.ts";

export interface Config {
  readonly natsUrl: string | undefined;
  readonly redisUrl: string | undefined;
  readonly sip: {
    readonly listen: readonly Listen[];
    /** The port is 0 where none was given. */
    readonly advertise: HostPort | undefined;
    readonly domains: readonly string[];
    readonly relay: readonly string[];
    readonly maxMessageBytes: number;
    readonly timerCMs: number;
    readonly floodPerSecond: number;
  };
  readonly httpListen: HostPort;
  readonly apiToken: string | undefined;
  readonly routes: string | undefined;
  readonly dialog: {
    readonly pingIntervalMs: number;
    readonly pingTimeoutMs: number;
    readonly pings: "both" | "caller" | "callee" | "none";
    readonly timeoutMs: number;
    readonly byeOnTimeout: boolean;
    readonly keepEndedMs: number;
  };
  readonly cluster: {
    readonly partitions: number;
    readonly member: string | undefined;
    readonly leaseMs: number;
    readonly drainMs: number;
    readonly secret: string;
  };
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "silent";
}

export type Environment = Readonly<Record<string, string | undefined>>;

const BAD = "CARILLON_CONFIG_VALUE";

/** Environment over the YAML file that `CARILLON_CONFIG` names over the defaults. Throws `CarillonError` for the first unknown key or bad value, naming it. */
export function loadConfig(env: Environment, readFile: (path: string) => string): Config {
  refuseUnknownVariables(env);
  const file = fileValues(env["CARILLON_CONFIG"], readFile);
  const values = new Map<string, unknown>();
  for (const setting of SETTINGS) values.set(setting.path, valueOf(setting, env, file));
  const get = <T>(path: string): T => values.get(path) as T;
  return {
    natsUrl: get("nats.url"),
    redisUrl: get("redis.url"),
    sip: {
      listen: get("sip.listen"),
      advertise: get("sip.advertise"),
      domains: get<readonly string[]>("sip.domains").map((domain) => domain.toLowerCase()),
      relay: get("sip.relay"),
      maxMessageBytes: get("sip.maxMessageBytes"),
      timerCMs: get("sip.timerC"),
      floodPerSecond: get("sip.floodPerSecond"),
    },
    httpListen: get("http.listen"),
    apiToken: get("api.token"),
    routes: get("routes"),
    dialog: {
      pingIntervalMs: get("dialog.pingInterval"),
      pingTimeoutMs: get("dialog.pingTimeout"),
      pings: get("dialog.pings"),
      timeoutMs: get("dialog.timeout"),
      byeOnTimeout: get("dialog.byeOnTimeout"),
      keepEndedMs: get("dialog.keepEnded"),
    },
    cluster: {
      partitions: get("cluster.partitions"),
      member: get<string | undefined>("cluster.member") ?? podName(env),
      leaseMs: get("cluster.lease"),
      drainMs: get("cluster.drainTime"),
      secret: get<string | undefined>("cluster.secret") ?? "",
    },
    logLevel: get("log.level"),
  };
}

/** A pod's name may have dots, which separate the parts of a NATS subject. */
function podName(env: Environment): string | undefined {
  const name = (env["POD_NAME"] ?? "").replaceAll(/[^\w-]/g, "-").slice(0, 100);
  return name === "" ? undefined : name;
}

function valueOf(setting: Setting, env: Environment, file: ReadonlyMap<string, unknown>): unknown {
  const { path, env: variable, kind, fallback } = setting;
  const fromEnv = env[variable];
  const set = fromEnv !== undefined && fromEnv !== "";
  const given = set ? fromEnv : (file.get(path) ?? fallback);
  if (given === undefined) return undefined;
  const read = kind.safeParse(given);
  if (read.success) return read.data;
  const name = set ? variable : path;
  const shown = SECRETS.has(variable) ? "a value that is not shown" : JSON.stringify(given);
  throw new CarillonError(BAD, `${name}: ${sentenceOf(read.error.issues)}, got ${shown}`, `Correct ${name} and start again`);
}

const SECRETS = new Set(["CARILLON_API_TOKEN", "CARILLON_CLUSTER_SECRET", "CARILLON_REDIS_URL", "CARILLON_NATS_URL"]);

function sentenceOf(issues: readonly { readonly message: string }[]): string {
  return issues.map(({ message }) => message).join("; ");
}

/** Variables of this name that are not settings. */
const OTHER_VARIABLES = new Set(["CARILLON_CONFIG", "CARILLON_BROKERS"]);

/** What Kubernetes tells every pod of a Service whose name begins with `carillon`. */
const SERVICE_LINK = /^CARILLON_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/;

function refuseUnknownVariables(env: Environment): void {
  const known = new Set(SETTINGS.map((setting) => setting.env));
  for (const name of Object.keys(env)) {
    if (!name.startsWith("CARILLON_") || known.has(name) || OTHER_VARIABLES.has(name) || SERVICE_LINK.test(name)) continue;
    throw new CarillonError("CARILLON_CONFIG_UNKNOWN", `unknown variable ${name}`, nearest(name, [...known]));
  }
}

function fileValues(path: string | undefined, readFile: (path: string) => string): ReadonlyMap<string, unknown> {
  const values = new Map<string, unknown>();
  if (path === undefined || path === "") return values;
  let read: unknown;
  try {
    read = parse(readFile(path));
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n", 1)[0] ?? "") : "";
    throw new CarillonError("CARILLON_CONFIG_FILE", `CARILLON_CONFIG: cannot read ${path}: ${why}`, "Name a readable YAML file", cause);
  }
  const paths = SETTINGS.map((setting) => setting.path);
  const walk = (node: unknown, prefix: string): void => {
    if (node === null || node === undefined) return;
    if (prefix !== "" && paths.includes(prefix)) {
      values.set(prefix, node);
      return;
    }
    const inside = prefix === "" || paths.some((one) => one.startsWith(`${prefix}.`));
    if (!inside) throw new CarillonError("CARILLON_CONFIG_UNKNOWN", `unknown key ${prefix} in ${path}`, nearest(prefix, paths));
    if (typeof node !== "object" || Array.isArray(node)) {
      // What stands here may be a secret that lacks its key.
      const shown = Array.isArray(node) ? "a list" : `a ${typeof node}`;
      throw new CarillonError(BAD, `${prefix === "" ? path : prefix}: expected keys and values, got ${shown}`, "See carillon.example.yaml");
    }
    for (const [key, value] of Object.entries(node)) walk(value, prefix === "" ? key : `${prefix}.${key}`);
  };
  walk(read, "");
  return values;
}

/** A suggestion: the known name with the fewest changes. */
function nearest(name: string, known: readonly string[]): string {
  const [best] = known.map((one) => ({ one, distance: distance(name, one) })).toSorted((a, b) => a.distance - b.distance);
  return best === undefined || best.distance > 6 ? "See carillon.example.yaml for all keys" : `Did you mean ${best.one}?`;
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_one, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** For services of a cluster. Throws where a broker is missing. */
export function requireBrokers(config: Config): { readonly natsUrl: string; readonly redisUrl: string } {
  const { natsUrl, redisUrl } = config;
  if (natsUrl === undefined)
    throw new CarillonError("CARILLON_CONFIG_MISSING", "CARILLON_NATS_URL is not set", "A service of a cluster needs it; npm start runs without");
  if (redisUrl === undefined)
    throw new CarillonError("CARILLON_CONFIG_MISSING", "CARILLON_REDIS_URL is not set", "A service of a cluster needs it; npm start runs without");
  return { natsUrl, redisUrl };
}

/** For services that serve the API. Throws where it would be open to others than this machine. */
export function requireToken(config: Config): void {
  const { host, port } = config.httpListen;
  if (host === "localhost" || host === "::1" || host.startsWith("127.") || config.apiToken !== undefined) return;
  throw new CarillonError(
    "CARILLON_CONFIG_TOKEN",
    `the API would listen on ${host}:${port} without a token`,
    "Set CARILLON_API_TOKEN, or CARILLON_HTTP_LISTEN to an address of loopback",
  );
}

/** The address in Via and Record-Route. Throws where nothing tells it. */
export function advertisedHost(config: Config, own: () => string | undefined): HostPort {
  const { advertise, listen } = config.sip;
  if (advertise !== undefined) return advertise;
  const [first] = listen;
  const host = first?.host ?? "";
  if (host !== "0.0.0.0" && host !== "::") return { host, port: 0 };
  const found = own();
  if (found !== undefined) return { host: found, port: 0 };
  throw new CarillonError("CARILLON_CONFIG_MISSING", "CARILLON_SIP_ADVERTISE is not set and SIP listens on all addresses", "Name the address that peers reach");
}
