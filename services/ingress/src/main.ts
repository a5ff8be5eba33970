import { run, startPod } from "@carillon/cluster";
import { startIngress } from "@carillon/edge";
import { serveHealth } from "@carillon/telemetry";

run(async () => {
  const pod = await startPod({ service: "ingress", roles: ["ingress"], env: process.env });
  const edge = await startIngress(pod);
  const { httpListen } = pod.config;
  const health = await serveHealth({ ...httpListen, metrics: pod.metrics, ready: () => pod.ready() });
  pod.log.info(
    { http: `${health.host}:${health.port}`, sip: edge.addresses.map(({ transport, host, port }) => `${transport}://${host}:${port}`) },
    "listening",
  );
});
