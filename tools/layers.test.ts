import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Who may depend on whom: an import points down, never up or sideways between services. */
const MAY: Readonly<Record<string, readonly string[]>> = {
  sip: [],
  wire: [],
  transaction: [],
  dialog: [],
  proxy: ["sip", "transaction", "dialog", "wire"],
  script: ["sip", "proxy"],
  bus: ["@nats-io/transport-node"],
  store: ["ioredis"],
  config: ["zod", "yaml"],
  telemetry: ["pino", "prom-client", "@opentelemetry/api", "@opentelemetry/sdk-node"],
  cluster: ["sip", "wire", "dialog", "proxy", "bus", "store", "config", "telemetry"],
  edge: ["sip", "wire", "bus", "telemetry", "cluster"],
  api: ["wire", "dialog", "store", "config", "telemetry", "cluster", "fastify", "@fastify/swagger"],
  testkit: ["sip", "testcontainers"],
};
const PURE = ["sip", "transaction", "dialog", "proxy"];

const manifest = (path: string): { dependencies?: Record<string, string> } => JSON.parse(readFileSync(join(ROOT, path, "package.json"), "utf8")) as never;

test.each(readdirSync(join(ROOT, "libs")))("libs/%s depends only on what lies below it", (lib) => {
  const found = Object.keys(manifest(`libs/${lib}`).dependencies ?? {}).map((name) => name.replace("@carillon/", ""));
  expect(found.filter((name) => !(MAY[lib] ?? []).includes(name))).toEqual([]);
});

test("no service depends on another", () => {
  for (const service of readdirSync(join(ROOT, "services"))) {
    expect(Object.keys(manifest(`services/${service}`).dependencies ?? {}).filter((name) => name.endsWith("-service"))).toEqual([]);
  }
});

test("no import leaves its package but by a package's name, and pure libraries import nothing of Node's", () => {
  const wrong: string[] = [];
  for (const lib of readdirSync(join(ROOT, "libs"))) {
    const folder = join(ROOT, "libs", lib, "src");
    for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"))) {
      for (const [, from = ""] of readFileSync(join(folder, file), "utf8").matchAll(/^(?:import|export) [^;]*? from "([^"]+)";/gms)) {
        if (from.startsWith("../") && !file.includes("/")) wrong.push(`${lib}/${file}: ${from}`);
        if (from.startsWith("node:") && PURE.includes(lib) && !file.endsWith(".test.ts")) wrong.push(`${lib}/${file}: ${from}`);
      }
    }
  }
  expect(wrong).toEqual([]);
});
