import { afterEach, expect, test } from "vitest";
import { createMetrics, serveHealth, type Health, type HealthOptions } from "./index.ts";

const open: Health[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((health) => health.close()));
});

async function serve(ready: HealthOptions["ready"] = () => ({ ok: true, reasons: [] })): Promise<(path: string, method?: string) => Promise<Response>> {
  const health = await serveHealth({ host: "127.0.0.1", port: 0, metrics: createMetrics("ingress"), ready });
  open.push(health);
  return (path, method = "GET") => fetch(`http://127.0.0.1:${health.port}${path}`, { method });
}

test("/livez answers whether the process is ready or not", async () => {
  const ask = await serve(() => ({ ok: false, reasons: ["no connection to NATS"] }));
  expect((await ask("/livez")).status).toBe(200);
});

test.each(["/readyz", "/startupz", "/readyz?verbose"])("%s says what is missing", async (path) => {
  const reasons: string[] = ["no connection to NATS"];
  const ask = await serve(() => ({ ok: reasons.length === 0, reasons }));
  const missing = await ask(path);
  expect([missing.status, await missing.json()]).toEqual([503, { ok: false, reasons: ["no connection to NATS"] }]);
  reasons.pop();
  const there = await ask(path);
  expect([there.status, await there.json()]).toEqual([200, { ok: true, reasons: [] }]);
});

test("a check that never ends is not ready, within its limit", async () => {
  const ask = await serve(() => new Promise(() => undefined));
  const answer = await ask("/readyz");
  expect([answer.status, await answer.json()]).toEqual([503, { ok: false, reasons: ["the check took too long"] }]);
});

test.each([
  () => Promise.reject(new Error("broken")),
  () => {
    throw new Error("broken");
  },
])("a check that fails is an answer, and the next one is asked again", async (ready) => {
  const ask = await serve(ready);
  expect((await ask("/readyz")).status).toBe(500);
  expect((await ask("/readyz")).status).toBe(500);
});

test("/metrics is Prometheus' text; other paths and methods are refused", async () => {
  const ask = await serve();
  const metrics = await ask("/metrics");
  expect([metrics.status, metrics.headers.get("content-type")]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
  expect(await metrics.text()).toContain("process_cpu_seconds_total");
  expect((await ask("/nothing")).status).toBe(404);
  expect((await ask("/livez", "POST")).status).toBe(405);
  expect((await ask("/livez", "HEAD")).status).toBe(200);
});

test("a port that is taken is said to whoever starts it", async () => {
  const first = await serveHealth({ host: "127.0.0.1", port: 0, metrics: createMetrics("one"), ready: () => ({ ok: true, reasons: [] }) });
  open.push(first);
  await expect(
    serveHealth({ host: "127.0.0.1", port: first.port, metrics: createMetrics("two"), ready: () => ({ ok: true, reasons: [] }) }),
  ).rejects.toMatchObject({ code: "EADDRINUSE" });
});
