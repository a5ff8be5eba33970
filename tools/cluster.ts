import { parseArgs } from "node:util";
import { SERVICES, startCluster, startNats, startRedis, type Broker, type Cluster, type Service } from "@carillon/testkit";

const { values } = parseArgs({ options: { scale: { type: "string", default: "" } } });

function readScale(text: string): Partial<Record<Service, number>> {
  const scale: Partial<Record<Service, number>> = {};
  for (const one of text.split(",").filter((part) => part !== "")) {
    const [name, number] = one.split("=");
    const service = SERVICES.find((known) => known === name);
    const count = Number(number);
    if (service === undefined || !Number.isInteger(count) || count < 1 || count > 32) {
      process.stderr.write(`carillon: --scale ${one}: expected ${SERVICES.join("|")}=1..32, comma separated\n`);
      process.exit(64);
    }
    scale[service] = count;
  }
  return scale;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const scale = readScale(values.scale);
const brokers: Broker[] = [];
const broker = async (variable: string, start: typeof startNats): Promise<string> => {
  const given = process.env[variable];
  if (given !== undefined && given !== "") return given;
  const started = await start({ ownGroup: true });
  brokers.push(started);
  return started.url;
};
const stopBrokers = async (): Promise<void> => {
  await Promise.all(brokers.map((one) => one.stop()));
};

let cluster: Cluster | undefined;
let stopping = false;
const stop = async (): Promise<void> => {
  if (stopping) return;
  stopping = true;
  // Before the cluster is up nothing has calls: what was started ends with this process.
  if (cluster === undefined) process.exit(130);
  await cluster.stop();
  await stopBrokers();
  process.exit(0);
};
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void stop());

const given = Object.fromEntries(Object.entries(process.env).filter(([name, value]) => name.startsWith("CARILLON_") && value !== undefined)) as Record<
  string,
  string
>;
const { CARILLON_HTTP_LISTEN: http = "127.0.0.1:8080", CARILLON_BROKERS: _brokers, ...settings } = given;
const listen = settings["CARILLON_SIP_LISTEN"] ?? "udp://0.0.0.0:5060,tcp://0.0.0.0:5060";
const advertise = settings["CARILLON_SIP_ADVERTISE"] ?? "127.0.0.1";
try {
  const nats = await broker("CARILLON_NATS_URL", startNats);
  const redis = await broker("CARILLON_REDIS_URL", startRedis);
  cluster = await startCluster({
    env: { ...settings, CARILLON_NATS_URL: nats, CARILLON_REDIS_URL: redis, CARILLON_SIP_LISTEN: listen, CARILLON_SIP_ADVERTISE: advertise },
    scale,
    // Several api processes cannot share a port as the ingress ones do: the first gets the known one.
    serviceEnv: (scale.api ?? 1) === 1 ? { api: { CARILLON_HTTP_LISTEN: http } } : {},
    restart: true,
    onLine: (_service, line) => void process.stdout.write(`${line}\n`),
    onRestart: (service, code) => say(`carillon: a ${service} process ended (${code ?? "signal"}); starting another`),
  });
  say("");
  say(`  NATS ${nats}   Redis ${redis}`);
  for (const service of SERVICES)
    say(
      `  ${service.padEnd(12)} ${cluster
        .of(service)
        .map((process) => `pid ${process.pid} ${process.http}`)
        .join("   ")}`,
    );
  say(`  SIP listens on ${listen}, and is written as ${advertise}`);
  say(`  The API: ${cluster.api}/api/v1/dialogs`);
  const port = /udp:\/\/[^,]*:(\d+)/.exec(listen)?.[1] ?? "5060";
  say(`  Try a call (needs sipp, and CARILLON_RELAY=any):  sipp -sn uas -p 5080 -bg; sipp -sn uac -m 1 -rsa 127.0.0.1:${port} 127.0.0.1:5080`);
  say("");
} catch (error) {
  say(`carillon: ${error instanceof Error ? error.message : String(error)}`);
  await stopBrokers();
  process.exit(1);
}
