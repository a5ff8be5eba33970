import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { findProgram, missing } from "./programs.ts";
import { until } from "./until.ts";

/** A NATS or Redis server for a test. */
export interface Broker {
  readonly url: string;
  /** Where it runs: `docker` or `process`. */
  readonly kind: "docker" | "process";
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again at the same address, after `kill`. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

interface Kind {
  readonly program: string;
  readonly image: string;
  readonly scheme: string;
  readonly port: number;
  readonly args: (port: number, folder: string) => readonly string[];
  /** What the image is told instead of its own command; its own where absent. */
  readonly command?: readonly string[] | undefined;
  /** What its log says once it serves. The official image of NATS has no shell, so a wait for its port inside the container never ends. */
  readonly serves: RegExp;
  /** What a client says first, and how the answer of a server that serves begins. */
  readonly hello: string;
  readonly greeting: string;
}

/** A Redis that is killed and started again still has what it was told. */
const DURABLE = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"];

const REDIS: Kind = {
  program: "redis-server",
  image: "redis:7-bookworm",
  scheme: "redis",
  port: 6379,
  args: (port, folder) => ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, ...DURABLE],
  command: ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", ...DURABLE],
  serves: /Ready to accept connections/,
  hello: "PING\r\n",
  greeting: "+PONG",
};
const NATS: Kind = {
  program: "nats-server",
  image: "nats:2",
  scheme: "nats",
  port: 4222,
  args: (port) => ["-a", "127.0.0.1", "-p", String(port)],
  serves: /Server is ready/,
  hello: "",
  greeting: "INFO ",
};

export interface BrokerOptions {
  /** Keeps the terminal's Ctrl-C from it: whoever starts it stops it, after those that need it have gone. */
  readonly ownGroup?: boolean | undefined;
}

export const startRedis = (options: BrokerOptions = {}): Promise<Broker> => startBroker(REDIS, options);
export const startNats = (options: BrokerOptions = {}): Promise<Broker> => startBroker(NATS, options);

/**
 * A Docker engine where one answers, else the program from the PATH, else Debian's package under `.cache/`. `CARILLON_BROKERS=docker` or `process` decides instead.
 * Rejects with what to install where there is none of them.
 */
async function startBroker(kind: Kind, options: BrokerOptions): Promise<Broker> {
  const forced = process.env["CARILLON_BROKERS"];
  if (forced === "docker" || (forced === undefined && dockerHas(kind.image))) return inDocker(kind);
  return asProcess(kind, options);
}

/** Whether a Docker engine answers and has the image, or can pull it. */
function dockerHas(image: string): boolean {
  if (spawnSync("docker", ["info"], { timeout: 10_000, stdio: "ignore" }).status !== 0) return false;
  if (spawnSync("docker", ["image", "inspect", image], { timeout: 10_000, stdio: "ignore" }).status === 0) return true;
  return spawnSync("docker", ["pull", "-q", image], { timeout: 120_000, stdio: "ignore" }).status === 0;
}

async function inDocker(kind: Kind): Promise<Broker> {
  process.env["TESTCONTAINERS_RYUK_DISABLED"] = "true";
  const { GenericContainer, Wait } = await import("testcontainers");
  const port = await freePort();
  const described = new GenericContainer(kind.image)
    .withExposedPorts({ container: kind.port, host: port })
    .withWaitStrategy(Wait.forLogMessage(kind.serves))
    .withStartupTimeout(60_000);
  const container = await (kind.command === undefined ? described : described.withCommand([...kind.command])).start();
  const host = container.getHost();
  const id = container.getId();
  // Testcontainers' own reaper is off: it is one more image to pull.
  const endWithTest = (): void => void spawnSync("docker", ["rm", "-f", "-v", id], { timeout: 30_000, stdio: "ignore" });
  process.once("exit", endWithTest);
  await until(`${kind.image} to serve`, () => serves(kind, host, port), 30_000);
  return {
    url: `${kind.scheme}://${host}:${port}`,
    kind: "docker",
    kill: async () => docker("kill", id, /is not running/),
    start: async () => {
      docker("start", id);
      await until(`${kind.image} to serve`, () => serves(kind, host, port), 30_000);
    },
    stop: async () => {
      process.off("exit", endWithTest);
      await container.stop();
    },
  };
}

function docker(command: string, id: string, fine?: RegExp): void {
  const { status, stderr } = spawnSync("docker", [command, id], { timeout: 30_000, encoding: "utf8" });
  if (status !== 0 && fine?.test(stderr) !== true) throw new Error(`docker ${command}: ${stderr.trim()}`);
}

async function asProcess(kind: Kind, { ownGroup }: BrokerOptions): Promise<Broker> {
  const program = findProgram(kind.program);
  if (program === undefined) throw new Error(missing(kind.program));
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), `carillon-${kind.program}-`));
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    child = spawn(program.path, kind.args(port, folder), { stdio: "ignore", detached: ownGroup === true, env: { ...process.env, ...program.env } });
    await until(`${kind.program} to serve`, () => serves(kind, "127.0.0.1", port), 15_000);
  };
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    const dying = child;
    if (dying === undefined || dying.exitCode !== null || dying.signalCode !== null) return;
    const gone = new Promise((resolve) => dying.once("exit", resolve));
    dying.kill(signal);
    await gone;
  };
  const endWithTest = (): void => void child?.kill("SIGKILL");
  process.once("exit", endWithTest);
  await start();
  return {
    url: `${kind.scheme}://127.0.0.1:${port}`,
    kind: "process",
    kill: () => kill("SIGKILL"),
    start,
    stop: async () => {
      process.off("exit", endWithTest);
      await kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Asks the server itself: a connection alone may be with Docker's proxy, before the server listens or while Redis still loads. */
function serves(kind: Kind, host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host });
    let heard = "";
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => end(false));
    socket.once("error", () => end(false));
    socket.once("close", () => end(false));
    socket.once("connect", () => void socket.write(kind.hello));
    socket.on("data", (bytes) => {
      heard += bytes.toString("latin1");
      if (heard.length >= kind.greeting.length) end(heard.startsWith(kind.greeting));
    });
  });
}
