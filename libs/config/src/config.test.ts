import { expect, test } from "vitest";
import { loadConfig, requireBrokers, requireToken, SETTINGS } from "./index.ts";

const load = (env: Record<string, string>, yaml = ""): ReturnType<typeof loadConfig> =>
  loadConfig(yaml === "" ? env : { ...env, CARILLON_CONFIG: "file.yaml" }, () => yaml);

test("the environment wins over the file, the file over the defaults", () => {
  const config = load({ CARILLON_PING_INTERVAL: "5" }, "dialog:\n  pingInterval: 7s\n  timeout: 2h\nsip:\n  domains: [A.example, b.example]\n");
  expect([config.dialog.pingIntervalMs, config.dialog.timeoutMs, config.sip.domains, config.cluster.partitions]).toEqual([
    5_000,
    7_200_000,
    ["a.example", "b.example"],
    256,
  ]);
});

test("the defaults are those of the design", () => {
  const config = load({});
  expect(config.sip.listen).toEqual([
    { transport: "udp", host: "0.0.0.0", port: 5060 },
    { transport: "tcp", host: "0.0.0.0", port: 5060 },
  ]);
  expect([config.dialog.pingIntervalMs, config.dialog.timeoutMs, config.httpListen, config.sip.relay]).toEqual([
    20_000,
    43_200_000,
    { host: "127.0.0.1", port: 8080 },
    ["none"],
  ]);
});

test("the example file is the defaults", async () => {
  const { readFileSync } = await import("node:fs");
  const example = readFileSync(new URL("../../../carillon.example.yaml", import.meta.url), "utf8");
  expect(load({}, example)).toEqual(load({}));
  for (const { env } of SETTINGS) expect(example).toContain(env);
});

// One line each: what was expected, what came, what to do.
test.each([
  [{ CARILLON_PING_INTERVALL: "5" }, "", "unknown variable CARILLON_PING_INTERVALL", "Did you mean CARILLON_PING_INTERVAL?"],
  [{}, "dialog:\n  pingIntervall: 5\n", "unknown key dialog.pingIntervall", "Did you mean dialog.pingInterval?"],
  [
    { CARILLON_PING_INTERVAL: "soon" },
    "",
    'CARILLON_PING_INTERVAL: expected a duration such as 20s, 500ms or a number of seconds, got "soon"',
    "CARILLON_PING_INTERVAL",
  ],
  [{ CARILLON_PING_TIMEOUT: "60" }, "", "expected 1 to 32 seconds", "CARILLON_PING_TIMEOUT"],
  [{}, "dialog:\n  pings: all\n", "dialog.pings: expected both, caller, callee or none", "dialog.pings"],
  [{ CARILLON_SIP_LISTEN: "5060" }, "", "CARILLON_SIP_LISTEN: expected addresses such as", "CARILLON_SIP_LISTEN"],
  [{ CARILLON_PARTITIONS: "0" }, "", "CARILLON_PARTITIONS: expected a whole number from 1 to 4096", "CARILLON_PARTITIONS"],
  [{ CARILLON_SIP_ADVERTISE: "a b" }, "", "CARILLON_SIP_ADVERTISE: expected host or host:port", "Name the address"],
  [{}, "sip: 5\n", "sip: expected keys and values", "carillon.example.yaml"],
  [{}, "a: [\n", "cannot read file.yaml", "readable YAML"],
] as const)("%j %j", (env, yaml, sentence, hint) => {
  expect(() => load(env, yaml)).toThrow(
    expect.objectContaining({ message: expect.stringContaining(sentence) as string, hint: expect.stringContaining(hint) as string }),
  );
});

test("a service of a cluster needs its brokers, and an API that others reach needs a token", () => {
  expect(() => requireBrokers(load({ CARILLON_NATS_URL: "nats://x" }))).toThrow("CARILLON_REDIS_URL is not set");
  expect(() => requireToken(load({ CARILLON_HTTP_LISTEN: "0.0.0.0:8080" }))).toThrow("without a token");
  requireToken(load({ CARILLON_HTTP_LISTEN: "0.0.0.0:8080", CARILLON_API_TOKEN: "t" }));
  requireToken(load({ CARILLON_HTTP_LISTEN: "[::1]:8080" }));
});

test("a secret is not shown", () => {
  expect(() => load({}, "api:\n  token: [secret]\n")).toThrow(expect.objectContaining({ message: expect.not.stringContaining("secret") as string }));
});
