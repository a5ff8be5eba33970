import { startApi } from "@carillon/api";
import { requireToken } from "@carillon/config";
import { run, startDialog, startStandalonePod, startTimer, startTransaction } from "@carillon/cluster";
import { startIngress } from "@carillon/edge";

run(async () => {
  const pod = await startStandalonePod({ service: "standalone", roles: ["ingress", "transaction", "dialog", "timer", "api"], env: process.env });
  // Before a socket is open: an API without a token is refused at start.
  requireToken(pod.config);
  const edge = await startIngress(pod);
  await startTransaction(pod, edge.addresses);
  await startDialog(pod);
  await startTimer(pod);
  const { host, port } = await startApi(pod);
  const sip = edge.addresses.map((address) => `${address.transport}://${address.host}:${address.port}`);
  pod.log.info({ http: `${host}:${port}`, sip }, "listening");
  const at = edge.addresses[0]?.port ?? 5060;
  const relay = pod.config.sip.relay.includes("any") ? "" : " after CARILLON_RELAY=any npm start";
  process.stderr.write(
    [
      "",
      `  SIP listens on ${sip.join(", ")}`,
      `  The API listens on http://${host}:${port}/api/v1/dialogs`,
      `  Try a call (needs sipp${relay}):  sipp -sn uas -i 127.0.0.1 -p 5080 -bg; sipp -sn uac -i 127.0.0.1 -m 1 -rsa 127.0.0.1:${at} 127.0.0.1:5080`,
      "",
      "",
    ].join("\n"),
  );
});
