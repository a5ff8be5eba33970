import { run, startTimer, startStatefulPod } from "@carillon/cluster";
import { serveHealth } from "@carillon/telemetry";

run(async () => {
  const pod = await startStatefulPod({ service: "timer", roles: ["timer"], env: process.env });
  await startTimer(pod);
  const { httpListen } = pod.config;
  const health = await serveHealth({ ...httpListen, metrics: pod.metrics, ready: () => pod.ready() });
  pod.log.info({ http: `${health.host}:${health.port}` }, "listening");
});
