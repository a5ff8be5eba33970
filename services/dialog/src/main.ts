import { run, startDialog, startStatefulPod } from "@carillon/cluster";
import { serveHealth } from "@carillon/telemetry";

run(async () => {
  const pod = await startStatefulPod({ service: "dialog", roles: ["dialog"], env: process.env });
  await startDialog(pod);
  const { httpListen } = pod.config;
  const health = await serveHealth({ ...httpListen, metrics: pod.metrics, ready: () => pod.ready() });
  pod.log.info({ http: `${health.host}:${health.port}` }, "listening");
});
