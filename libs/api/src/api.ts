import { createHash, timingSafeEqual } from "node:crypto";
import { STATUS_CODES } from "node:http";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import swagger from "@fastify/swagger";
import { requireToken } from "@carillon/config";
import type { StatefulPod } from "@carillon/cluster";
import { readyAnswer } from "@carillon/telemetry";
import { dialogDo } from "@carillon/wire";
import { clusterView } from "./cluster.ts";
import { findDialog, listDialogs, partitionOfDialog, type DialogFilter } from "./dialogs.ts";
import { CLUSTER, DIALOG, DIALOG_PAGE, LIST_QUERY, PROBLEM } from "./schemas.ts";

const ASK_WITHIN_MS = 2_000;
const MAX_BODY_BYTES = 64 * 1024;
const MOST_CONNECTIONS = 1_000;
/** What passes: the store or the owner of a partition is away for a moment. */
const UNAVAILABLE = /^CARILLON_(?:STORE_UNAVAILABLE|BUS_(?:NO_RESPONDERS|TIMEOUT|UNAVAILABLE|CLOSED))$/;
const OPEN_PATHS = new Set(["/livez", "/readyz", "/startupz", "/metrics", "/api/v1/openapi.json"]);

/** The HTTP side of `api` and `standalone`: dialogs, the cluster, health and metrics. Throws at start where it would be open to others without a token. */
export async function createApi(pod: StatefulPod): Promise<FastifyInstance> {
  const { config, store, bus, metrics, log } = pod;
  requireToken(config);
  const { partitions } = config.cluster;
  const failed = (error: Error & { statusCode?: number; code?: string }, reply: FastifyReply): void => {
    const unavailable = UNAVAILABLE.test(error.code ?? "");
    const status = unavailable ? 503 : (error.statusCode ?? 500);
    if (status >= 500) (unavailable ? log.warn : log.error).call(log, { err: error }, "API");
    problem(reply, status, unavailable ? "the store or the owner of the dialog does not answer; try again" : status >= 500 ? "internal error" : error.message);
  };
  const app: FastifyInstance = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: 10_000,
    connectionTimeout: 10_000,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 100 },
    // A query that we do not know is refused, not ignored.
    ajv: { customOptions: { removeAdditional: false } },
    frameworkErrors: (error, _request, reply) => failed(error, reply),
  });
  app.server.maxConnections = MOST_CONNECTIONS;
  app.setErrorHandler((error: Error, _request, reply) => failed(error, reply));
  app.setNotFoundHandler((_request, reply) => problem(reply, 404, "no such resource"));
  if (config.apiToken !== undefined) app.addHook("onRequest", tokenCheck(config.apiToken));
  const unreadable = (id: string, error: unknown): void => log.warn({ err: error, "sip.dialog.id": id }, "left a dialog out of the list");
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Carillon", description: "Dialogs and members of a Carillon cluster.", version: "1" },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
      security: [{ token: [] }],
    },
  });
  await app.register(async (routes) => {
    routes.get("/api/v1/openapi.json", { schema: { hide: true } }, () => app.swagger());
    routes.get<{ Querystring: DialogFilter }>(
      "/api/v1/dialogs",
      { schema: { summary: "Dialogs, page by page", querystring: LIST_QUERY, response: { 200: DIALOG_PAGE, "4xx": PROBLEM, "5xx": PROBLEM } } },
      (request) => listDialogs(store, partitions, request.query, unreadable),
    );
    routes.get<{ Params: { id: string } }>(
      "/api/v1/dialogs/:id",
      { schema: { summary: "One dialog; an ended one for a while after its end", response: { 200: DIALOG, "4xx": PROBLEM, "5xx": PROBLEM } } },
      async (request, reply) => (await findDialog(store, partitions, request.params.id)) ?? problem(reply, 404, "no such dialog"),
    );
    routes.delete<{ Params: { id: string } }>(
      "/api/v1/dialogs/:id",
      {
        schema: { summary: "Ends a dialog: BYE to both parties (CANCEL while it rings)", response: { 202: { type: "null" }, "4xx": PROBLEM, "5xx": PROBLEM } },
      },
      async (request, reply) => {
        const { id } = request.params;
        const partition = partitionOfDialog(id, partitions);
        if (partition === undefined) return problem(reply, 404, "no such dialog");
        const asking = Buffer.from(JSON.stringify({ kind: "end", id, reason: "MI Termination" }));
        const answer = JSON.parse(Buffer.from(await bus.request(dialogDo(partition), asking, ASK_WITHIN_MS)).toString("utf8")) as {
          ok: boolean;
          code?: string;
        };
        if (answer.ok) return reply.code(202).send();
        if (answer.code === "not-found") return problem(reply, 404, "no such dialog");
        if (answer.code === "ended") return problem(reply, 409, "the dialog has ended");
        return problem(reply, 503, "the owner of the dialog is changing; try again");
      },
    );
    routes.get("/api/v1/cluster", { schema: { summary: "Members, and who owns which partitions", response: { 200: CLUSTER, "5xx": PROBLEM } } }, () =>
      clusterView(pod),
    );
  });
  app.get("/livez", { schema: { hide: true } }, (_request, reply) => reply.type("text/plain").send("ok\n"));
  for (const path of ["/readyz", "/startupz"]) {
    app.get(path, { schema: { hide: true } }, async (_request, reply) => {
      const [status, type, text] = await readyAnswer(() => pod.ready());
      return reply.code(status).type(type).send(text);
    });
  }
  app.get("/metrics", { schema: { hide: true } }, async (_request, reply) => {
    const { type, text } = await metrics.render();
    return reply.type(type).send(text);
  });
  return app;
}

/** Serves it where the configuration says; answers with the address. */
export async function startApi(pod: StatefulPod): Promise<{ readonly host: string; readonly port: number }> {
  const app = await createApi(pod);
  const { host, port } = pod.config.httpListen;
  await app.listen({ host, port });
  pod.onStop(() => app.close());
  // Out of file descriptors, say: the listener lives on, and must not end a process that carries calls.
  app.server.on("error", (error) => pod.log.error({ err: error }, "HTTP listener"));
  const bound = app.server.address();
  return { host, port: typeof bound === "object" && bound !== null ? bound.port : port };
}

/** RFC 9457. */
function problem(reply: FastifyReply, status: number, detail: string): FastifyReply {
  return reply
    .code(status)
    .type("application/problem+json")
    .send({ type: "about:blank", title: STATUS_CODES[status] ?? "Error", status, detail });
}

function tokenCheck(token: string): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  // Hashes have one length, so the comparison tells nothing about the token.
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
  const wanted = hash(token);
  // RFC 9110 §11.1: the name of a scheme knows no case.
  const given = (header: string): string => /^bearer +(\S+)$/i.exec(header)?.[1] ?? "";
  return async (request, reply) => {
    if (OPEN_PATHS.has(request.url.split("?", 1)[0] ?? "") || timingSafeEqual(hash(given(request.headers.authorization ?? "")), wanted)) return;
    // A reply is a promise of having been sent: only the last call may be awaited.
    void reply.header("www-authenticate", "Bearer");
    await problem(reply, 401, "a bearer token is needed");
  };
}
