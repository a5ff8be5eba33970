import { z } from "zod";
import { bearerToken, duration, flag, hostMaybePort, hostPort, integer, list, listens, memberName, redisUrl, relayRules, text } from "./kinds.ts";

/** One key of the configuration. From this table come the reader, `carillon.example.yaml` and `docs/reference/configuration.md`. */
export interface Setting {
  /** Place in the YAML file. */
  readonly path: string;
  readonly env: string;
  readonly kind: z.ZodType;
  /** As it would be written; undefined: none. */
  readonly fallback: string | undefined;
  readonly description: string;
}

const S = 1_000;
const DAY = 86_400 * S;

export const SETTINGS = [
  {
    path: "nats.url",
    env: "CARILLON_NATS_URL",
    kind: text,
    fallback: undefined,
    description: "NATS servers, comma separated. Without it only standalone runs: its bus is the process itself.",
  },
  {
    path: "redis.url",
    env: "CARILLON_REDIS_URL",
    kind: redisUrl,
    fallback: undefined,
    description:
      "redis://, rediss://, redis-sentinel://host:port,host:port/<master>, or several nodes of a Redis Cluster, comma separated. Without it only standalone runs: its store is memory.",
  },
  {
    path: "sip.listen",
    env: "CARILLON_SIP_LISTEN",
    kind: listens,
    fallback: "udp://0.0.0.0:5060,tcp://0.0.0.0:5060",
    description: "Where SIP is listened for.",
  },
  {
    path: "sip.advertise",
    env: "CARILLON_SIP_ADVERTISE",
    kind: hostMaybePort,
    fallback: undefined,
    description: "host or host:port written in Via and Record-Route, shared by all ingress pods. Default: the listening address.",
  },
  { path: "sip.domains", env: "CARILLON_DOMAINS", kind: list, fallback: "", description: "Domains that are served here, comma separated." },
  {
    path: "sip.relay",
    env: "CARILLON_RELAY",
    kind: relayRules,
    fallback: "none",
    description: "Hosts to which the built-in script relays requests: names, addresses or CIDR blocks, comma separated; any; none.",
  },
  {
    path: "sip.maxMessageBytes",
    env: "CARILLON_MAX_MESSAGE_BYTES",
    kind: integer(1_024, 1_048_576),
    fallback: "65536",
    description: "Largest SIP message, bytes.",
  },
  {
    path: "sip.timerC",
    env: "CARILLON_TIMER_C",
    kind: duration(1 * S, 3_600 * S),
    fallback: "180s",
    description: "Longest ringing of a branch (RFC 3261 timer C; restarted by each provisional response).",
  },
  {
    path: "sip.floodPerSecond",
    env: "CARILLON_FLOOD_PER_SECOND",
    kind: integer(0, 1_000_000),
    fallback: "0",
    description: "Messages per second that one source address may send on average; more are dropped and counted. 0: no limit.",
  },
  {
    path: "http.listen",
    env: "CARILLON_HTTP_LISTEN",
    kind: hostPort,
    fallback: "127.0.0.1:8080",
    description: "Health, metrics, and on api and standalone the API. Port 0: the system chooses.",
  },
  {
    path: "api.token",
    env: "CARILLON_API_TOKEN",
    kind: bearerToken,
    fallback: undefined,
    description: "Bearer token of the API. Needed where it listens anywhere but on loopback.",
  },
  { path: "routes", env: "CARILLON_ROUTES", kind: text, fallback: undefined, description: "Path of the routing script. Default: the built-in one." },
  {
    path: "dialog.pingInterval",
    env: "CARILLON_PING_INTERVAL",
    kind: duration(1 * S, DAY),
    fallback: "20s",
    description: "Time between in-dialog pings of a leg.",
  },
  {
    path: "dialog.pingTimeout",
    env: "CARILLON_PING_TIMEOUT",
    kind: duration(1 * S, 32 * S),
    fallback: "32s",
    description: "How long a ping may stay unanswered.",
  },
  {
    path: "dialog.pings",
    env: "CARILLON_DIALOG_PINGS",
    kind: z.enum(["both", "caller", "callee", "none"], { message: "expected both, caller, callee or none" }),
    fallback: "both",
    description: "Legs that are pinged: both, caller, callee or none.",
  },
  {
    path: "dialog.timeout",
    env: "CARILLON_DIALOG_TIMEOUT",
    kind: duration(1 * S, 30 * DAY),
    fallback: "43200s",
    description: "Lifetime of a dialog, from its answer.",
  },
  {
    path: "dialog.byeOnTimeout",
    env: "CARILLON_BYE_ON_TIMEOUT",
    kind: flag,
    fallback: "true",
    description: "Whether the end of the lifetime sends BYE to both legs; false: the dialog is only forgotten.",
  },
  {
    path: "dialog.keepEnded",
    env: "CARILLON_ENDED_DIALOG_KEEP",
    kind: duration(1 * S, DAY),
    fallback: "60s",
    description: "How long an ended dialog stays readable in the API.",
  },
  {
    path: "cluster.partitions",
    env: "CARILLON_PARTITIONS",
    kind: integer(1, 4_096),
    fallback: "256",
    description: "Partitions of the cluster: a constant, the same on every pod, never changed while calls are up.",
  },
  {
    path: "cluster.secret",
    env: "CARILLON_CLUSTER_SECRET",
    kind: text,
    fallback: undefined,
    description: "Makes branches and tags hard to guess from outside; the same on every pod. Without it they are derived from what peers know.",
  },
  {
    path: "cluster.member",
    env: "CARILLON_MEMBER_NAME",
    kind: memberName,
    fallback: undefined,
    description: "Name of this process in the cluster. Default: POD_NAME or the service, and a random part: a process that starts again is another member.",
  },
  {
    path: "cluster.lease",
    env: "CARILLON_LEASE_TTL",
    kind: duration(1 * S, 60 * S),
    fallback: "3s",
    description: "Life of a partition's lease: how long a crashed owner is waited for.",
  },
  {
    path: "cluster.drainTime",
    env: "CARILLON_DRAIN_TIME",
    kind: duration(0, 3_600 * S),
    fallback: "5s",
    description: "How long an ingress goes on forwarding after SIGTERM.",
  },
  {
    path: "log.level",
    env: "CARILLON_LOG_LEVEL",
    kind: z.enum(["trace", "debug", "info", "warn", "error", "silent"], { message: "expected trace, debug, info, warn, error or silent" }),
    fallback: "info",
    description: "Lowest level that is logged: trace, debug, info, warn, error or silent.",
  },
] as const satisfies readonly Setting[] as readonly Setting[];
