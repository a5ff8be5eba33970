import { freePort, lacking, ready, startCluster, startNats, startRedis, startService, type Broker, type Cluster, type ServiceProcess } from "@carillon/testkit";

/** A Carillon under test, whichever way it is deployed. */
export interface System {
  readonly name: string;
  readonly sipPort: number;
  /** `http://host:port` of the API. */
  readonly api: string;
  readonly cluster: Cluster | undefined;
  readonly redis: Broker | undefined;
  /** All processes' health addresses. */
  processes(): readonly ServiceProcess[];
  stop(): Promise<void>;
}

export type Environment = Readonly<Record<string, string>>;

function settings(sipPort: number, env: Environment): Environment {
  return { CARILLON_RELAY: "any", CARILLON_SIP_LISTEN: `udp://127.0.0.1:${sipPort},tcp://127.0.0.1:${sipPort}`, CARILLON_LOG_LEVEL: "warn", ...env };
}

/** `listening` is logged at info; a test that wants silence still needs that line. */
const LOG_LEVEL = { CARILLON_LOG_LEVEL: "info" } as const;

export async function startStandalone(env: Environment = {}): Promise<System> {
  const sipPort = await freePort();
  const process = await startService("standalone", { ...settings(sipPort, env), ...LOG_LEVEL });
  await ready(process);
  return {
    name: "standalone",
    sipPort,
    api: process.http,
    cluster: undefined,
    redis: undefined,
    processes: () => [process],
    stop: async () => {
      process.signal("SIGTERM");
      await process.gone;
    },
  };
}

/** Two processes of each service over real NATS and Redis. */
export async function startPair(env: Environment = {}): Promise<System> {
  const sipPort = await freePort();
  const [nats, redis] = await Promise.all([startNats(), startRedis()]);
  const cluster = await startCluster({
    env: { ...settings(sipPort, env), ...LOG_LEVEL, CARILLON_NATS_URL: nats.url, CARILLON_REDIS_URL: redis.url, CARILLON_DRAIN_TIME: "1" },
    scale: { ingress: 2, transaction: 2, dialog: 2, timer: 2 },
    restart: true,
  });
  return {
    name: "cluster",
    sipPort,
    api: cluster.api,
    cluster,
    redis,
    processes: () => (["ingress", "transaction", "dialog", "timer", "api"] as const).flatMap((service) => cluster.of(service)),
    stop: async () => {
      await cluster.stop();
      await Promise.all([nats.stop(), redis.stop()]);
    },
  };
}

/** The sum of a counter's series over all processes, per value of its label. */
export async function counted(system: System, metric: string, label: string): Promise<ReadonlyMap<string, number>> {
  const sums = new Map<string, number>();
  for (const process of system.processes()) {
    const text = await (await fetch(`${process.http}/metrics`)).text();
    for (const line of text.split("\n")) {
      if (!line.startsWith(`${metric}{`)) continue;
      const value = new RegExp(`${label}="([^"]*)"`).exec(line)?.[1];
      if (value !== undefined) sums.set(value, (sums.get(value) ?? 0) + Number(line.slice(line.lastIndexOf(" "))));
    }
  }
  return sums;
}

/** Outside CI, tests of a cluster are skipped (and named) where there is no broker to be had. */
export const WITHOUT_BROKERS: boolean = lacking("redis-server", "nats-server");

export const SYSTEMS: readonly (readonly [name: string, start: (env?: Environment) => Promise<System>])[] = [
  ["standalone", startStandalone],
  ...(WITHOUT_BROKERS ? [] : [["a cluster with two of each service", startPair] as const]),
];
