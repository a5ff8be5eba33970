import { ready, startService, type ServiceProcess } from "./service-process.ts";

export type Service = "ingress" | "transaction" | "dialog" | "timer" | "api";

export const SERVICES: readonly Service[] = ["transaction", "dialog", "timer", "api", "ingress"];

export interface ClusterOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Processes of each service; 1 where it says nothing. */
  readonly scale?: Readonly<Partial<Record<Service, number>>> | undefined;
  /** Environment of one service besides `env`. */
  readonly serviceEnv?: Readonly<Partial<Record<Service, Readonly<Record<string, string>>>>> | undefined;
  readonly onLine?: ((service: Service, line: string) => void) | undefined;
  /** What ends without being asked is started again. */
  readonly restart?: boolean | undefined;
  readonly onRestart?: ((service: Service, code: number | null) => void) | undefined;
}

export interface Cluster {
  /** Processes of a service that run now. */
  of(service: Service): readonly ServiceProcess[];
  /** `http://host:port` of the first api process. */
  readonly api: string;
  /** One more process of a service, ready for work. */
  add(service: Service): Promise<ServiceProcess>;
  /** Ends all of them: SIGTERM, and SIGKILL for what is left after 20 s. */
  stop(): Promise<void>;
}

const STOP_WITHIN_MS = 20_000;
const MOST_RESTARTS_A_MINUTE = 30;

/** Starts the services of a cluster as processes of this machine, which share its SIP port, and waits until all are ready. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { env, scale, serviceEnv, onLine, restart, onRestart } = options;
  const running = new Map<Service, Set<ServiceProcess>>(SERVICES.map((service) => [service, new Set()]));
  const restarts: number[] = [];
  let stopping = false;

  const start = async (service: Service): Promise<ServiceProcess> => {
    const line = onLine === undefined ? undefined : (text: string): void => onLine(service, text);
    const process = await startService(service, { ...env, ...serviceEnv?.[service] }, line);
    running.get(service)?.add(process);
    process.gone
      .then(async (code) => {
        running.get(service)?.delete(process);
        if (stopping || restart !== true) return;
        onRestart?.(service, code);
        const nowMs = Date.now();
        restarts.push(nowMs);
        while ((restarts[0] ?? nowMs) < nowMs - 60_000) restarts.shift();
        if (restarts.length > MOST_RESTARTS_A_MINUTE) await new Promise((resolve) => setTimeout(resolve, 5_000));
        if (!stopping) await start(service);
      })
      .catch((error: unknown) => onLine?.(service, String(error)));
    return process;
  };

  try {
    await Promise.all(SERVICES.flatMap((service) => Array.from({ length: scale?.[service] ?? 1 }, () => start(service))));
    // An ingress is ready when an OPTIONS through its socket is answered: then all that matters runs.
    await Promise.all([...running.values()].flatMap((processes) => [...processes]).map((process) => ready(process)));
  } catch (error) {
    stopping = true;
    for (const processes of running.values()) for (const process of processes) process.signal("SIGKILL");
    throw error;
  }

  return {
    of: (service) => [...(running.get(service) ?? [])],
    get api() {
      return [...(running.get("api") ?? [])][0]?.http ?? "";
    },
    add: async (service) => {
      const process = await start(service);
      await ready(process);
      return process;
    },
    stop: async () => {
      stopping = true;
      const all = [...running.values()].flatMap((processes) => [...processes]);
      for (const process of all) process.signal("SIGTERM");
      const late = setTimeout(() => {
        for (const process of all) process.signal("SIGKILL");
      }, STOP_WITHIN_MS);
      await Promise.all(all.map((process) => process.gone));
      clearTimeout(late);
    },
  };
}
