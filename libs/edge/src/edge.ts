import type { Bus, Delivery, Subscription } from "@carillon/bus";
import { callIdOf, hostPort } from "@carillon/sip";
import { decodeOutbound, encodeInbound, isReliable, partitionOf, sipIn, sipOut, SIP_OUT_ANY, type Flow, type Outbound, type Transport } from "@carillon/wire";
import type { Tracing } from "@carillon/telemetry";
import type { EdgeCounted, Log } from "./counted.ts";
import { floodLimit } from "./flood.ts";
import { startHandoff } from "./handoff.ts";
import { probeSip } from "./probe.ts";
import { createResolver, type Place } from "./resolver.ts";
import { tcpConnections } from "./tcp.ts";
import { listenUdp, type UdpListener } from "./udp.ts";

export interface Listen {
  readonly transport: Transport;
  /** IPv6 without brackets. */
  readonly host: string;
  /** 0: the system chooses. */
  readonly port: number;
}

export interface EdgeOptions {
  readonly bus: Bus;
  /** Name of this ingress in the cluster. */
  readonly member: string;
  readonly listen: readonly Listen[];
  readonly partitions: number;
  readonly maxMessageBytes: number;
  /** Messages per second that one source address may send on average; 0: any number. */
  readonly floodPerSecond: number;
  readonly log: Log;
  readonly count: (what: EdgeCounted) => void;
  readonly maxConnections?: number | undefined;
  readonly tracing?: Tracing | undefined;
}

export interface Edge {
  /** Where it listens: with the port that the system chose. */
  readonly addresses: readonly Listen[];
  /** Whether an OPTIONS through its own socket is answered. */
  probe(): Promise<boolean>;
  /** Takes no new connections and ends those that are there; UDP goes on. */
  drain(): void;
  close(): void;
}

export class EdgeError extends Error {
  readonly code = "CARILLON_EDGE_TRANSPORT_UNSUPPORTED";

  constructor(transport: Transport) {
    super(`CARILLON_EDGE_TRANSPORT_UNSUPPORTED: this release listens on udp and tcp, not on ${transport}`);
    this.name = "EdgeError";
  }
}

const DEFAULT_MAX_CONNECTIONS = 20_000;
const IDLE_MS = 15 * 60_000;
/** Messages that wait for DNS, over all names. */
const MOST_RESOLVING = 10_000;

/** The ingress: sockets and connections, nothing else. Frames a message, finds its Call-ID, publishes it to the owner of its partition, and sends what it is told. */
export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const { bus, member, partitions, maxMessageBytes, log, count, tracing } = options;
  for (const { transport } of options.listen) if (transport !== "udp" && transport !== "tcp") throw new EdgeError(transport);
  const flood = floodLimit(options.floodPerSecond, 2 * options.floodPerSecond);
  const resolver = createResolver();
  const handoff = startHandoff(bus, count);
  const addresses: Listen[] = [];
  const udp: UdpListener[] = [];

  const received = (text: string, flow: Flow): void => {
    count("received");
    if (text.length > maxMessageBytes) return count("oversized");
    if (!flood.allows(flow.host)) return count("flood");
    const callId = callIdOf(text);
    if (callId === undefined) return count("noCallId");
    const subject = sipIn(partitionOf(callId, partitions));
    const payload = encodeInbound({ kind: "message", flow, receivedAtMs: performance.timeOrigin + performance.now(), text });
    const span =
      tracing?.sampled(callId) === true
        ? tracing.start(`SIP ${text.slice(0, text.indexOf(" "))}`, "server", {
            "sip.call_id": callId,
            "sip.transport": flow.transport,
            "sip.ingress.id": member,
            "network.peer.address": flow.host,
            "network.peer.port": flow.port,
            "messaging.destination.name": subject,
          })
        : undefined;
    if (isReliable(flow.transport)) handoff.hand(subject, callId, payload, span?.traceparent);
    else if (span === undefined) bus.publish(subject, payload);
    else bus.publish(subject, payload, { traceparent: span.traceparent });
    span?.end();
  };

  const tcp = tcpConnections({
    limits: { maxBytes: maxMessageBytes },
    maxConnections: options.maxConnections ?? DEFAULT_MAX_CONNECTIONS,
    idleMs: IDLE_MS,
    log,
    count,
    received: (text, connection, host, port) => received(text, { transport: "tcp", ingress: member, connection, host, port }),
  });

  for (const { transport, host, port } of options.listen) {
    if (transport === "udp") {
      const socket = await listenUdp({
        host,
        port,
        log,
        count,
        received: (text, from, fromPort) => received(text, { transport: "udp", ingress: member, connection: "", host: from, port: fromPort }),
      });
      udp.push(socket);
      addresses.push({ transport, host: socket.host, port: socket.port });
    } else {
      addresses.push({ transport, ...(await tcp.listen(host, port)) });
    }
  }

  // --- sending ---

  const failed = (outbound: Outbound, error: Error): void => {
    if (outbound.branch === "") return count("responseUndeliverable");
    count("undeliverable");
    const { callId, branch, method } = outbound;
    bus.publish(sipIn(partitionOf(callId, partitions)), encodeInbound({ kind: "undeliverable", callId, branch, method, fault: error.message }));
  };

  const sendTo = (outbound: Outbound, place: Place): void => {
    count("sent");
    const fail = (error: Error): void => failed(outbound, error);
    switch (outbound.transport) {
      case "udp": {
        const socket = udp.find((one) => one.host.includes(":") === place.host.includes(":")) ?? udp[0];
        if (socket === undefined) return fail(new Error("this ingress has no UDP socket"));
        socket.send(outbound.text, place.host, place.port, fail);
        return;
      }
      case "tcp":
        tcp.send(outbound.text, outbound.connection, place.host, place.port, fail);
        return;
      case "tls":
      case "ws":
      case "wss":
        fail(new EdgeError(outbound.transport));
    }
  };

  /** Messages for a name that DNS is being asked about wait in order. */
  const resolving = new Map<string, Outbound[]>();
  let resolvingCount = 0;

  const send = (outbound: Outbound): void => {
    const { transport, host, port } = outbound;
    const name = `${transport}|${host}|${port}`;
    const waiting = resolving.get(name);
    const place = waiting === undefined ? resolver.known(transport, host, port) : undefined;
    if (place !== undefined) return sendTo(outbound, place);
    if (resolvingCount >= MOST_RESOLVING) return failed(outbound, new Error("too many messages wait for DNS"));
    resolvingCount++;
    if (waiting !== undefined) {
      waiting.push(outbound);
      return;
    }
    const queue = [outbound];
    resolving.set(name, queue);
    resolver.resolve(transport, host, port).then(
      (found) => {
        resolving.delete(name);
        resolvingCount -= queue.length;
        for (const one of queue) sendTo(one, found);
      },
      (error: Error) => {
        resolving.delete(name);
        resolvingCount -= queue.length;
        for (const one of queue) failed(one, error);
      },
    );
  };

  const told = ({ payload, traceparent }: Delivery): void => {
    const batch = decodeOutbound(payload);
    if (batch === undefined) return count("envelopeUnknown");
    for (const outbound of batch) {
      const span =
        traceparent === undefined
          ? undefined
          : tracing?.start(
              `send ${startOf(outbound.text)}`,
              "client",
              { "sip.transport": outbound.transport, "server.address": outbound.host, "server.port": outbound.port },
              traceparent,
            );
      send(outbound);
      span?.end();
    }
  };

  const subscriptions: Subscription[] = [bus.subscribe(sipOut(member), told), bus.subscribe(SIP_OUT_ANY, told, { queue: "ingress" })];
  log.info({ sip: addresses.map(({ transport, host, port }) => `${transport}://${hostPort(host, port)}`) }, "listening for SIP");

  return {
    addresses,
    probe: () => probeSip(addresses, count),
    drain: () => tcp.drain(),
    close: () => {
      for (const subscription of subscriptions) subscription.stop();
      handoff.close();
      for (const socket of udp) socket.close();
      tcp.close();
    },
  };
}

/** The method of a request, the status of a response. */
const startOf = (text: string): string => text.split(" ", 2)[text.startsWith("SIP/") ? 1 : 0] ?? "";
