import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "./programs.ts";
import { until } from "./until.ts";

/** One process of a service. */
export interface ServiceProcess {
  readonly service: string;
  /** `http://host:port` of its health endpoints. */
  readonly http: string;
  readonly pid: number;
  /** Its last log lines. */
  logs(): readonly string[];
  signal(signal: NodeJS.Signals): void;
  /** Resolves with the exit status once it is gone; null where a signal ended it. */
  readonly gone: Promise<number | null>;
}

/** Ended with this process, however it ends. */
const alive = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of alive) child.kill("SIGKILL");
});

const MOST_LINES = 2_000;
const READY_WITHIN_MS = 30_000;

/** Starts a service with the pinned Node and waits until it says that it listens. Rejects with its output where it ends first. */
export async function startService(service: string, env: Readonly<Record<string, string>>, onLine?: (line: string) => void): Promise<ServiceProcess> {
  const child: ChildProcess = spawn(process.execPath, [join(ROOT, "services", service, "src", "main.ts")], {
    cwd: ROOT,
    env: { ...cleanEnvironment(), CARILLON_HTTP_LISTEN: "127.0.0.1:0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  let http: string | undefined;
  let rest = "";
  const take = (bytes: Buffer): void => {
    const parts = (rest + bytes.toString("utf8")).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) {
      lines.push(line);
      if (lines.length > MOST_LINES) lines.shift();
      http ??= httpOf(line);
      onLine?.(line);
    }
  };
  child.stdout?.on("data", take);
  child.stderr?.on("data", take);
  let ended = false;
  const gone = new Promise<number | null>((resolve) =>
    child.once("exit", (code) => {
      ended = true;
      resolve(code);
    }),
  );
  alive.add(child);
  gone.finally(() => alive.delete(child)).catch(() => undefined);
  const address = await until(
    `${service} to listen`,
    () => {
      if (ended) throw new Error(`${service} ended at start:\n${lines.join("\n")}`);
      return http;
    },
    READY_WITHIN_MS,
  );
  return { service, http: `http://${address}`, pid: child.pid ?? 0, logs: () => lines, signal: (signal) => void child.kill(signal), gone };
}

/** This process's environment without settings of Carillon's own. */
function cleanEnvironment(): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined && !name.startsWith("CARILLON_") && !name.startsWith("VITEST")) kept[name] = value;
  return kept;
}

function httpOf(line: string): string | undefined {
  if (!line.includes('"msg":"listening"')) return undefined;
  return /"http":"([^"]+)"/.exec(line)?.[1];
}

/** Waits until `/readyz` says yes. */
export async function ready(process: ServiceProcess): Promise<void> {
  await until(
    `${process.service} to be ready`,
    async () => {
      const answer = await fetch(`${process.http}/readyz`, { signal: AbortSignal.timeout(3_000) }).catch(() => undefined);
      return answer?.ok === true;
    },
    READY_WITHIN_MS,
  );
}
