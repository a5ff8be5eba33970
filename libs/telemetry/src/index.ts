export { createLog, type Log, type LogOptions } from "./log.ts";
export { createMetrics, type Metrics } from "./metrics.ts";
export { readyAnswer, serveHealth, type Health, type HealthOptions, type Readiness } from "./health.ts";
export { startTracing, type TraceKind, type TraceSpan, type Tracing, type TracingOptions } from "./tracing.ts";
