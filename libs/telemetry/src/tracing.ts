import type { Context, Span, SpanKind, Tracer } from "@opentelemetry/api";

/** A span that is being recorded. */
export interface TraceSpan {
  /** W3C `traceparent` for what this work causes. */
  readonly traceparent: string;
  readonly traceId: string;
  set(name: string, value: string | number): void;
  fail(reason: string): void;
  end(): void;
}

export type TraceKind = "server" | "client" | "producer" | "consumer";

/** Traces of sampled calls. There is none where tracing is off: then nothing is asked and nothing is made, per message. */
export interface Tracing {
  /** Whether a call is traced: decided by a hash of its Call-ID, so that every pod decides the same and a call is whole or absent. */
  sampled(callId: string): boolean;
  start(name: string, kind: TraceKind, attributes: Readonly<Record<string, string | number>>, parent?: string): TraceSpan;
}

export interface TracingOptions {
  readonly service: string;
  readonly member: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const STOP_WITHIN_MS = 3_000;
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/**
 * Starts OpenTelemetry where `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set; undefined otherwise. The SDK takes a quarter of a second and 48 MB to load, so it is loaded only then.
 * `OTEL_TRACES_SAMPLER_ARG` is the share of calls that is traced (0 to 1, default 1); `OTEL_TRACES_SAMPLER` counts only as `always_off` and `always_on`.
 */
export async function startTracing({ service, member, env }: TracingOptions): Promise<{ readonly tracing: Tracing; stop(): Promise<void> } | undefined> {
  const endpoint = env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] || env["OTEL_EXPORTER_OTLP_ENDPOINT"] || "";
  if (endpoint === "" || env["OTEL_SDK_DISABLED"] === "true") return undefined;
  // Metrics are Prometheus' business and logs go to standard output: the SDK exports neither unless it is told to.
  process.env["OTEL_METRICS_EXPORTER"] ??= "none";
  process.env["OTEL_LOGS_EXPORTER"] ??= "none";
  // We decide ourselves, call by call: a sampler of the SDK would decide a second time, span by span.
  const threshold = shareOf(env) * 2 ** 32;
  delete process.env["OTEL_TRACES_SAMPLER"];
  process.env["OTEL_RESOURCE_ATTRIBUTES"] = [process.env["OTEL_RESOURCE_ATTRIBUTES"], `service.instance.id=${member}`].filter(Boolean).join(",");
  const [api, { NodeSDK }] = await Promise.all([import("@opentelemetry/api"), import("@opentelemetry/sdk-node")]);
  const sdk = new NodeSDK({
    serviceName: env["OTEL_SERVICE_NAME"] ?? `carillon-${service}`,
    instrumentations: [],
  });
  sdk.start();
  const tracer = api.trace.getTracer("carillon");
  const kinds = kindsOf(api);
  return {
    tracing: {
      sampled: (callId) => hashOf(callId) < threshold,
      start: (name, kind, attributes, parent) => begin(api, tracer, name, kinds[kind], attributes, parent),
    },
    stop: async () => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const limit = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, STOP_WITHIN_MS);
      });
      try {
        await Promise.race([sdk.shutdown(), limit]);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** Share of calls that is traced, 0 to 1. */
function shareOf(env: TracingOptions["env"]): number {
  const sampler = env["OTEL_TRACES_SAMPLER"] ?? "";
  if (sampler.endsWith("always_off")) return 0;
  const given = env["OTEL_TRACES_SAMPLER_ARG"] ?? "";
  const share = Number(given);
  return sampler.endsWith("always_on") || given.trim() === "" || Number.isNaN(share) ? 1 : Math.min(Math.max(share, 0), 1);
}

const kindsOf = ({ SpanKind: kinds }: typeof import("@opentelemetry/api")): Readonly<Record<TraceKind, SpanKind>> => ({
  server: kinds.SERVER,
  client: kinds.CLIENT,
  producer: kinds.PRODUCER,
  consumer: kinds.CONSUMER,
});

function begin(
  api: typeof import("@opentelemetry/api"),
  tracer: Tracer,
  name: string,
  kind: SpanKind,
  attributes: Readonly<Record<string, string | number>>,
  parent: string | undefined,
): TraceSpan {
  const span: Span = tracer.startSpan(name, { kind, attributes }, contextOf(api, parent));
  const { traceId, spanId, traceFlags } = span.spanContext();
  return {
    traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`,
    traceId,
    set: (attribute, value) => void span.setAttribute(attribute, value),
    fail: (reason) => void span.setStatus({ code: api.SpanStatusCode.ERROR, message: reason }),
    end: () => span.end(),
  };
}

function contextOf(api: typeof import("@opentelemetry/api"), parent: string | undefined): Context {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(parent ?? "") ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return api.ROOT_CONTEXT;
  return api.trace.setSpanContext(api.ROOT_CONTEXT, { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true });
}

/** FNV-1a with murmur3's finisher: 0 to 2^32 − 1, evenly. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
