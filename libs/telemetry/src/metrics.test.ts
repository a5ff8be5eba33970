import { expect, test } from "vitest";
import { createMetrics } from "./index.ts";

const rendered = async (metrics: ReturnType<typeof createMetrics>): Promise<string> => (await metrics.render()).text;

test("a counter counts each value of its label", async () => {
  const metrics = createMetrics("ingress");
  const count = metrics.counter<"sent" | "flood">("carillon_ingress_events_total", "Events.", "event");
  count("sent");
  count("sent");
  count("flood");
  const text = await rendered(metrics);
  expect(text).toContain('carillon_ingress_events_total{event="sent",service="ingress"} 2');
  expect(text).toContain('carillon_ingress_events_total{event="flood",service="ingress"} 1');
});

test("a gauge is read when it is asked for", async () => {
  const metrics = createMetrics("dialog");
  let partitions = 1;
  metrics.gauge("carillon_dialog_partitions", "Partitions.", () => partitions);
  partitions = 7;
  expect(await rendered(metrics)).toContain('carillon_dialog_partitions{service="dialog"} 7');
});

test("a histogram puts each value into its bucket", async () => {
  const metrics = createMetrics("timer");
  const lag = metrics.histogram("carillon_timer_lag_seconds", "Lag.", [0.1, 1]);
  for (const seconds of [0.05, 0.5, 5]) lag(seconds);
  const text = await rendered(metrics);
  for (const [bound, count] of [
    ["0.1", 1],
    ["1", 2],
    ["+Inf", 3],
  ])
    expect(text).toContain(`carillon_timer_lag_seconds_bucket{le="${bound}",service="timer"} ${count}`);
  expect(text).toContain('carillon_timer_lag_seconds_sum{service="timer"} 5.55');
});

test("a process shows its memory and the lag of its event loop, in Prometheus' text form", async () => {
  const { type, text } = await createMetrics("api").render();
  expect(type).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(text).toContain("nodejs_eventloop_lag_p99_seconds{");
  expect(text).toContain("process_resident_memory_bytes{");
});

test("two processes' metrics in one do not meet, and a name is given once", () => {
  const metrics = createMetrics("one");
  createMetrics("two").counter("carillon_x_total", "X.", "x");
  metrics.counter("carillon_x_total", "X.", "x");
  expect(() => metrics.counter("carillon_x_total", "X.", "x")).toThrow("already been registered");
});
