import { once } from "node:events";
import { createServer } from "node:http";
import { SpanKind } from "@opentelemetry/api";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startTracing } from "./index.ts";

const before = { ...process.env };
beforeEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith("OTEL_")) delete process.env[name];
});
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
});

const start = (env: Record<string, string>): ReturnType<typeof startTracing> => startTracing({ service: "ingress", member: "ingress-1", env });

test.each([{}, { OTEL_EXPORTER_OTLP_ENDPOINT: "" }, { OTEL_EXPORTER_OTLP_ENDPOINT: "http://x", OTEL_SDK_DISABLED: "true" }])(
  "nothing is traced and nothing is loaded with %j",
  async (env) => {
    expect(await start(env as Record<string, string>)).toBeUndefined();
  },
);

interface Exported {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly unknown[] };
    readonly scopeSpans: readonly { readonly spans: readonly Record<string, unknown>[] }[];
  }[];
}

// One test: OpenTelemetry can be started once in a process.
test("a sampled call's spans are exported with their parents; the share is decided by the Call-ID", async () => {
  const received: Exported[] = [];
  const collector = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      received.push(JSON.parse(Buffer.concat(chunks).toString("utf8")) as Exported);
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  collector.listen(0, "127.0.0.1");
  await once(collector, "listening");
  const address = collector.address();
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
    OTEL_TRACES_SAMPLER_ARG: "0.25",
  };
  Object.assign(process.env, env);
  const started = (await start(env))!;
  const { tracing } = started;

  const calls = Array.from({ length: 4_000 }, (_one, at) => `call-${at}@192.0.2.1`);
  const sampled = calls.filter((callId) => tracing.sampled(callId));
  expect(sampled.length / calls.length).toBeGreaterThan(0.22);
  expect(sampled.length / calls.length).toBeLessThan(0.28);
  // Every pod decides the same: these are pinned, so a changed hash is seen.
  expect(calls.slice(0, 12).flatMap((callId, at) => (tracing.sampled(callId) ? [at] : []))).toEqual(SAMPLED_OF_TWELVE);

  const root = tracing.start("SIP INVITE", "server", { "sip.call_id": "a@b" });
  const child = tracing.start("transaction INVITE", "consumer", {}, root.traceparent);
  child.set("sip.status_code", 486);
  child.fail("busy");
  child.end();
  root.end();
  expect(root.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  expect(child.traceId).toBe(root.traceId);
  for (const parent of ["", "nonsense", `00-${"0".repeat(32)}-${"0".repeat(16)}-01`]) {
    const fresh = tracing.start("x", "client", {}, parent);
    expect(fresh.traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
    expect(fresh.traceId).not.toBe(root.traceId);
  }
  // What a peer chose not to trace is passed on as not traced.
  expect(tracing.start("x", "client", {}, `00-${"a".repeat(32)}-${"b".repeat(16)}-00`).traceparent).toMatch(/-00$/);

  await started.stop();
  collector.close();
  const spans = received.flatMap(({ resourceSpans }) => resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)));
  expect(spans.map(({ name, kind }) => [name, kind])).toEqual([
    ["transaction INVITE", SpanKind.CONSUMER + 1],
    ["SIP INVITE", SpanKind.SERVER + 1],
  ]);
  expect(spans[0]).toMatchObject({ parentSpanId: spans[1]!["spanId"], status: { code: 2, message: "busy" } });
  expect(spans[0]!["attributes"]).toEqual([{ key: "sip.status_code", value: { intValue: 486 } }]);
  expect(received[0]!.resourceSpans[0]!.resource.attributes).toEqual(
    expect.arrayContaining([
      { key: "service.name", value: { stringValue: "carillon-ingress" } },
      { key: "service.instance.id", value: { stringValue: "ingress-1" } },
    ]),
  );
});

const SAMPLED_OF_TWELVE = [2];
