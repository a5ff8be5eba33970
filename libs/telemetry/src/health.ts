import { createServer, type Server, type ServerResponse } from "node:http";
import type { Metrics } from "./metrics.ts";

export interface Readiness {
  readonly ok: boolean;
  /** What is missing, in words. */
  readonly reasons: readonly string[];
}

export interface HealthOptions {
  readonly host: string;
  readonly port: number;
  readonly metrics: Metrics;
  readonly ready: () => Readiness | Promise<Readiness>;
}

export interface Health {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

const READY_WITHIN_MS = 2_000;

/** `/livez`: the event loop turns. `/readyz` and `/startupz`: what the process needs is there. `/metrics`: Prometheus' text. */
export function serveHealth({ host, port, metrics, ready }: HealthOptions): Promise<Health> {
  const server = createServer((request, response) => {
    if (request.method !== "GET" && request.method !== "HEAD") return answer(response, 405, "text/plain", "GET or HEAD\n");
    const path = request.url?.split("?", 1)[0];
    if (path === "/livez") return answer(response, 200, "text/plain", "ok\n");
    if (path === "/readyz" || path === "/startupz") return settle(response, readyAnswer(ready));
    if (path === "/metrics")
      return settle(
        response,
        metrics.render().then(({ type, text }) => [200, type, text] as const),
      );
    answer(response, 404, "text/plain", "not found\n");
  });
  server.requestTimeout = 5_000;
  server.headersTimeout = 5_000;
  server.maxConnections = 100;
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, host, () => {
      // Out of file descriptors, say: the listener lives on, and must not end a process that carries calls.
      server.off("error", reject).on("error", (error) => process.emitWarning(error));
      const bound = server.address();
      resolve({ host, port: typeof bound === "object" && bound !== null ? bound.port : port, close: () => closed(server) });
    });
  });
}

type Answer = readonly [status: number, type: string, text: string];

/** The readiness as an HTTP answer; not ready where it takes longer than 2 s. */
export async function readyAnswer(ready: HealthOptions["ready"]): Promise<Answer> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<Readiness>((resolve) => {
    timer = setTimeout(() => resolve({ ok: false, reasons: ["the check took too long"] }), READY_WITHIN_MS);
  });
  try {
    const { ok, reasons } = await Promise.race([ready(), limit]);
    return [ok ? 200 : 503, "application/json", `${JSON.stringify({ ok, reasons })}\n`];
  } finally {
    clearTimeout(timer);
  }
}

function settle(response: ServerResponse, promise: Promise<Answer>): void {
  promise.then(
    ([status, type, text]) => answer(response, status, type, text),
    (error: unknown) => answer(response, 500, "text/plain", `${error instanceof Error ? error.message : "failed"}\n`),
  );
}

function answer(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { "content-type": type }).end(text);
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
