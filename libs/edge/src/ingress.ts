import type { Pod } from "@carillon/cluster";
import type { EdgeCounted } from "./counted.ts";
import { startEdge, type Edge } from "./edge.ts";

/** How long an answered probe counts, milliseconds. */
const PROBED_FOR_MS = 3_000;

/** The ingress service: an edge with the pod's configuration, ready when an OPTIONS through its own socket is answered. */
export async function startIngress(pod: Pod): Promise<Edge> {
  const { bus, member, config, log, metrics } = pod;
  const edge = await startEdge({
    bus,
    member,
    listen: config.sip.listen,
    partitions: config.cluster.partitions,
    maxMessageBytes: config.sip.maxMessageBytes,
    floodPerSecond: config.sip.floodPerSecond,
    tracing: pod.tracing,
    log,
    count: metrics.counter<EdgeCounted>("carillon_ingress_events_total", "What happened to datagrams, messages and connections.", "event"),
  });
  let probedUntilMs = 0;
  pod.addCheck(async () => {
    if (performance.now() < probedUntilMs) return undefined;
    if (!(await edge.probe())) return "an OPTIONS through the SIP socket is not answered";
    probedUntilMs = performance.now() + PROBED_FOR_MS;
    return undefined;
  });
  pod.onStop(async () => {
    // The state is shared: until the load balancer has noticed, everything that comes is forwarded as ever. Alone, there is nobody to send it to instead.
    const alone = pod.membership.members().filter(({ roles }) => roles.includes("ingress")).length <= 1;
    if (!alone) await new Promise((resolve) => setTimeout(resolve, config.cluster.drainMs));
    edge.drain();
    pod.membership.leave();
    await new Promise((resolve) => setTimeout(resolve, 50));
    edge.close();
  });
  return edge;
}
