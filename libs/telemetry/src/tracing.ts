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
 * Starts OpenTelemetry where `OTEL_EXPORTER_OTLP_ENDPOINT` is set; undefined otherwise. The SDK takes a quarter of a second and 48 MB to load, so it is loaded only then.
 * `OTEL_TRACES_SAMPLER_ARG` is the share of calls that is traced (0 to 1, default 1).
 */
export async function startTracing({ service, member, env }: TracingOptions): Promise<{ readonly tracing: Tracing; stop(): Promise<void> } | undefined> {
  if ((env["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? "") === "" || env["OTEL_SDK_DISABLED"] === "true") return undefined;
  // Metrics are Prometheus' business and logs go to standard output: the SDK exports neither unless it is told to.
  process.env["OTEL_METRICS_EXPORTER"] ??= "none";
  process.env["OTEL_LOGS_EXPORTER"] ??= "none";
  // We decide ourselves, call by call: a sampler of the SDK would decide a second time, span by span.
  const ratio = Number(env["OTEL_TRACES_SAMPLER_ARG"] ?? "1");
  delete process.env["OTEL_TRACES_SAMPLER"];
  process.env["OTEL_RESOURCE_ATTRIBUTES"] = [process.env["OTEL_RESOURCE_ATTRIBUTES"], `service.instance.id=${member}`].filter(Boolean).join(",");
  const [api, { NodeSDK }] = await Promise.all([import("@opentelemetry/api"), import("@opentelemetry/sdk-node")]);
  const sdk = new NodeSDK({
    serviceName: env["OTEL_SERVICE_NAME"] ?? `carillon-${service}`,
    instrumentations: [],
  });
  sdk.start();
  const tracer = api.trace.getTracer("carillon");
  const threshold = (Number.isFinite(ratio) ? Math.min(Math.max(ratio, 0), 1) : 1) * 2 ** 32;
  return {
    tracing: {
      sampled: (callId) => hashOf(callId) < threshold,
      start: (name, kind, attributes, parent) => begin(api, tracer, name, kind, attributes, parent),
    },
    stop: async () => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const limit = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, STOP_WITHIN_MS);
      });
      await Promise.race([sdk.shutdown(), limit]);
      clearTimeout(timer);
    },
  };
}

function begin(
  api: typeof import("@opentelemetry/api"),
  tracer: Tracer,
  name: string,
  kind: TraceKind,
  attributes: Readonly<Record<string, string | number>>,
  parent: string | undefined,
): TraceSpan {
  const kinds: Readonly<Record<TraceKind, SpanKind>> = {
    server: api.SpanKind.SERVER,
    client: api.SpanKind.CLIENT,
    producer: api.SpanKind.PRODUCER,
    consumer: api.SpanKind.CONSUMER,
  };
  const span: Span = tracer.startSpan(name, { kind: kinds[kind], attributes }, contextOf(api, parent));
  const { traceId, spanId } = span.spanContext();
  return {
    traceparent: `00-${traceId}-${spanId}-01`,
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
