import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connectNats, inProcessBus, type Bus } from "@carillon/bus";
import { exitWith, loadConfig, requireBrokers, type Config, type Environment } from "@carillon/config";
import { connectRedis, memoryStore, type Store } from "@carillon/store";
import { createLog, createMetrics, startTracing, type Log, type Metrics, type Readiness, type Tracing } from "@carillon/telemetry";
import { joinCluster, type MemberRole, type Membership } from "./membership.ts";

/** One process of the cluster: what every service has, whatever it does. */
export interface Pod {
  readonly service: string;
  readonly member: string;
  readonly config: Config;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Undefined where tracing is off. */
  readonly tracing: Tracing | undefined;
  readonly bus: Bus;
  readonly membership: Membership;
  /** Something that must hold before this process is given work; `undefined` where it does, else what is missing. */
  addCheck(check: () => Promise<string | undefined> | string | undefined): void;
  ready(): Promise<Readiness>;
  /** Done on SIGTERM and SIGINT, last added first; each within the limit of the process. */
  onStop(stop: () => Promise<void> | void): void;
}

/** A process that reads and writes the store. */
export interface StatefulPod extends Pod {
  readonly store: Store;
}

export interface PodOptions {
  readonly service: string;
  readonly roles: readonly MemberRole[];
  readonly env: Environment;
}

const STOP_WITHIN_MS = 15_000;

/** Starts what all services share, without the store: an ingress has none. */
export async function startPod(options: PodOptions): Promise<Pod> {
  const config = loadConfig(options.env, (path) => readFileSync(path, "utf8"));
  const { natsUrl } = requireBrokers(config);
  return assemble(options, config, (log, member) => connectNats({ servers: natsUrl, name: member, onError: (error) => log.error({ err: error }, "bus") }));
}

/** Starts what all services share, and the store. */
export async function startStatefulPod(options: PodOptions): Promise<StatefulPod> {
  const pod = await startPod(options);
  const { redisUrl } = requireBrokers(pod.config);
  return withStore(pod, await connectRedis({ url: redisUrl, log: pod.log }));
}

/** All services in one process: bus and store in memory unless the configuration names others. */
export async function startStandalonePod(options: PodOptions): Promise<StatefulPod> {
  const config = loadConfig(options.env, (path) => readFileSync(path, "utf8"));
  const { natsUrl, redisUrl } = config;
  const pod = await assemble(options, config, async (log, member) => {
    const onError = (error: unknown): void => log.error({ err: error }, "bus");
    return natsUrl === undefined ? inProcessBus({ onError }) : connectNats({ servers: natsUrl, name: member, onError });
  });
  return withStore(pod, redisUrl === undefined ? memoryStore() : await connectRedis({ url: redisUrl, log: pod.log }));
}

function withStore(pod: Pod, store: Store): StatefulPod {
  pod.addCheck(() => (store.status === "connected" ? undefined : "no connection to Redis"));
  pod.onStop(() => store.close());
  return { ...pod, store };
}

async function assemble(options: PodOptions, config: Config, connectBus: (log: Log, member: string) => Promise<Bus>): Promise<Pod> {
  const { service, roles } = options;
  // A process that starts again is another member: what it knew is gone.
  const member = `${config.cluster.member ?? service}-${randomBytes(4).toString("hex")}`;
  const log = createLog({ service, member, level: config.logLevel });
  const metrics = createMetrics(service);
  const traced = await startTracing({ service, member, env: options.env });
  const bus = await connectBus(log, member);
  const settleMs = config.natsUrl === undefined ? 0 : undefined;
  const membership = joinCluster({ bus, self: { name: member, roles, sinceMs: Date.now(), address: "" }, settleMs });
  metrics.gauge("carillon_cluster_members", "Members of the cluster that this process hears.", () => membership.members().length);
  const checks: (() => Promise<string | undefined> | string | undefined)[] = [() => (bus.status === "connected" ? undefined : "no connection to NATS")];
  const stops: (() => Promise<void> | void)[] = [];
  let stopping = false;
  const pod: Pod = {
    service,
    member,
    config,
    log,
    metrics,
    tracing: traced?.tracing,
    bus,
    membership,
    addCheck: (check) => {
      checks.push(check);
    },
    ready: async () => {
      const found = stopping ? ["stopping"] : (await Promise.all(checks.map(async (check) => check()))).filter((reason) => reason !== undefined);
      return { ok: found.length === 0, reasons: found };
    },
    onStop: (stop) => {
      stops.push(stop);
    },
  };
  pod.onStop(() => traced?.stop());
  pod.onStop(() => bus.close());
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, "stopping");
    setTimeout(() => process.exit(1), STOP_WITHIN_MS + config.cluster.drainMs).unref();
    for (const one of stops.toReversed()) {
      try {
        await one();
      } catch (error) {
        log.warn({ err: error }, "while stopping");
      }
    }
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void stop(signal));
  process.on("unhandledRejection", (error) => log.error({ err: error }, "a promise without an owner rejected"));
  return pod;
}

/** Runs a service's main; an error at start ends the process with one line. */
export function run(main: () => Promise<void>): void {
  main().catch(exitWith);
}
