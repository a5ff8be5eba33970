export { startNats, startRedis, type Broker } from "./brokers.ts";
export { SERVICES, startCluster, type Cluster, type ClusterOptions, type Service } from "./cluster.ts";
export { freePort } from "./free-port.ts";
export { inviteOf, openParty, setUpCall, withHeader, type Party, type Seen, type StandingCall } from "./party.ts";
export { findProgram, lacking, missing, ROOT, type Program } from "./programs.ts";
export { ready, startService, type ServiceProcess } from "./service-process.ts";
export { startSipp, type SippOptions, type SippResult, type SippRun } from "./sipp.ts";
export { until } from "./until.ts";
