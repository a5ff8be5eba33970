import { expect, test } from "vitest";
import { advertisedHost, loadConfig, requireBrokers, requireToken, SETTINGS } from "./index.ts";

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
  [{ CARILLON_SIP_ADVERTISE: "a b" }, "", "CARILLON_SIP_ADVERTISE: expected host or host:port", "CARILLON_SIP_ADVERTISE"],
  [{}, "sip:\n  advertise: 5\n", "sip.advertise: expected host or host:port, got 5", "sip.advertise"],
  [{ CARILLON_PARTITIONS: "many" }, "", 'CARILLON_PARTITIONS: expected a whole number from 1 to 4096, got "many"', "CARILLON_PARTITIONS"],
  [{}, "cluster:\n  partitions: 1.5\n", "cluster.partitions: expected a whole number from 1 to 4096, got 1.5", "cluster.partitions"],
  [{ CARILLON_BYE_ON_TIMEOUT: "yes" }, "", 'CARILLON_BYE_ON_TIMEOUT: expected true or false, got "yes"', "CARILLON_BYE_ON_TIMEOUT"],
  [{}, "dialog:\n  pingInterval: true\n", "dialog.pingInterval: expected a duration", "dialog.pingInterval"],
  [{}, "sip:\n  domains: 5\n", "sip.domains: expected names, comma separated or as a list, got 5", "sip.domains"],
  [{ CARILLON_HTTP_LISTEN: "8080" }, "", 'CARILLON_HTTP_LISTEN: expected host:port, got "8080"', "CARILLON_HTTP_LISTEN"],
  [{ CARILLON_SIP_LISTEN: "udp://0.0.0.0:5060,udp://0.0.0.0" }, "", "expected each address once", "CARILLON_SIP_LISTEN"],
  [{ CARILLON_SIP_LISTEN: "udp://0.0.0.0:70000" }, "", "expected addresses such as", "CARILLON_SIP_LISTEN"],
  [{ CARILLON_RELAY: "192.0.2.0/33" }, "", "CARILLON_RELAY: expected any, none, or hosts", "CARILLON_RELAY"],
  [{ CARILLON_RELAY: "10.0.0/8" }, "", "CARILLON_RELAY: expected any, none, or hosts", "CARILLON_RELAY"],
  [{ CARILLON_RELAY: "none,any" }, "", "CARILLON_RELAY: expected any, none, or hosts", "CARILLON_RELAY"],
  [{ CARILLON_MEMBER_NAME: "a.*" }, "", "CARILLON_MEMBER_NAME: expected up to 100 letters", "CARILLON_MEMBER_NAME"],
  [{ CARILLON_REDIS_URL: "http://redis" }, "", "CARILLON_REDIS_URL: expected redis://", "CARILLON_REDIS_URL"],
  [{ CARILLON_API_TOKEN: "two words" }, "", "CARILLON_API_TOKEN: expected letters, digits", "CARILLON_API_TOKEN"],
  [{ CARILLON_LOG_LEVEL: "loud" }, "", 'CARILLON_LOG_LEVEL: expected trace, debug, info, warn, error or silent, got "loud"', "CARILLON_LOG_LEVEL"],
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

test.each([
  [{}, "api:\n  token: [secret]\n"],
  // The key was forgotten.
  [{}, "api: secret\n"],
  [{}, "redis: redis://user:secret@redis\n"],
  [{}, "- secret\n"],
  [{ CARILLON_API_TOKEN: "secret word" }, ""],
  [{ CARILLON_REDIS_URL: "http://user:secret@redis" }, ""],
] as const)("a secret is not shown: %j %j", (env, yaml) => {
  expect(() => load(env, yaml)).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining("secret") as string, hint: expect.not.stringContaining("secret") as string }),
  );
});

test("what Kubernetes tells of a Service named carillon is no setting", () => {
  load({
    CARILLON_SERVICE_HOST: "10.0.0.1",
    CARILLON_SERVICE_PORT: "5060",
    CARILLON_API_SERVICE_PORT_HTTP: "8080",
    CARILLON_PORT: "udp://10.0.0.1:5060",
    CARILLON_INGRESS_PORT_5060_UDP: "udp://10.0.0.1:5060",
    CARILLON_PORT_5060_UDP_PROTO: "udp",
    CARILLON_PORT_5060_UDP_PORT: "5060",
    CARILLON_PORT_5060_UDP_ADDR: "10.0.0.1",
  });
  expect(() => load({ CARILLON_PORT_5060: "x" })).toThrow("unknown variable CARILLON_PORT_5060");
});

test("relay rules are names, addresses and blocks", () => {
  expect(load({ CARILLON_RELAY: "carrier.example, 192.0.2.1,192.0.2.0/24,2001:db8::/32" }).sip.relay).toHaveLength(4);
  expect(load({ CARILLON_RELAY: "any" }).sip.relay).toEqual(["any"]);
});

test("the member's name is the pod's, fit for a subject", () => {
  expect(load({ POD_NAME: "carillon-0.west" }).cluster.member).toBe("carillon-0-west");
  expect(load({ POD_NAME: "" }).cluster.member).toBeUndefined();
  expect(load({ POD_NAME: "pod", CARILLON_MEMBER_NAME: "own" }).cluster.member).toBe("own");
});

test("the advertised address comes from the setting, else from what is listened on, else from the machine", () => {
  const own = (): string | undefined => "192.0.2.9";
  expect(advertisedHost(load({ CARILLON_SIP_ADVERTISE: "[2001:db8::1]:5070" }), own)).toEqual({ host: "2001:db8::1", port: 5070 });
  expect(advertisedHost(load({ CARILLON_SIP_ADVERTISE: "sip.example" }), own)).toEqual({ host: "sip.example", port: 0 });
  expect(advertisedHost(load({ CARILLON_SIP_LISTEN: "udp://192.0.2.1:5060" }), own)).toEqual({ host: "192.0.2.1", port: 0 });
  expect(advertisedHost(load({}), own)).toEqual({ host: "192.0.2.9", port: 0 });
  expect(() => advertisedHost(load({}), () => undefined)).toThrow("CARILLON_SIP_ADVERTISE is not set");
});
