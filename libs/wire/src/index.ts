export { isReliable, isTransport, readFlow, writeFlow, type Flow, type Transport } from "./flow.ts";
export { decodeInbound, encodeInbound, type Inbound } from "./inbound.ts";
export { decodeOutbound, encodeOutbound, type Outbound } from "./outbound.ts";
export { partitionOf } from "./partition.ts";
export { CLUSTER_ALIVE, CLUSTER_LEAVING, dialogDo, dialogIn, publicEvent, SIP_OUT_ANY, sipIn, sipOut, transactionDo } from "./subjects.ts";
