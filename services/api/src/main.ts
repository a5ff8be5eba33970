import { startApi } from "@carillon/api";
import { run, startStatefulPod } from "@carillon/cluster";

run(async () => {
  const pod = await startStatefulPod({ service: "api", roles: ["api"], env: process.env });
  const { host, port } = await startApi(pod);
  pod.log.info({ http: `${host}:${port}` }, "listening");
});
