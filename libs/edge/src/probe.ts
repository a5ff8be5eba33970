import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { randomUUID } from "node:crypto";
import { hostPort, writeRequest } from "@carillon/sip";
import type { EdgeCounted } from "./counted.ts";
import type { Listen } from "./edge.ts";

const ANSWER_WITHIN_MS = 1_000;

/** Sends an OPTIONS to the first of the listening addresses from a socket of its own: true where any SIP response comes back in time. */
export async function probeSip(addresses: readonly Listen[], count: (what: EdgeCounted) => void): Promise<boolean> {
  const [first] = addresses;
  if (first === undefined) return false;
  const host = first.host === "0.0.0.0" ? "127.0.0.1" : first.host === "::" ? "::1" : first.host;
  try {
    return await (first.transport === "udp" ? overUdp(host, first.port) : overTcp(host, first.port));
  } catch {
    // Not ready is the answer, whatever the reason.
    count("undeliverable");
    return false;
  }
}

function options(host: string, port: number, transport: "UDP" | "TCP", local: string): string {
  const id = randomUUID();
  return writeRequest({
    method: "OPTIONS",
    requestUri: `sip:${hostPort(host, port)}`,
    vias: [`SIP/2.0/${transport} ${local};branch=z9hG4bK${id};rport`],
    from: `<sip:probe@${hostPort(host, undefined)}>;tag=${id.slice(0, 8)}`,
    to: `<sip:${hostPort(host, port)}>`,
    callId: id,
    cseq: 1,
  });
}

function overUdp(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    const done = (answered: boolean): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answered);
    };
    const timer = setTimeout(() => done(false), ANSWER_WITHIN_MS);
    socket.once("message", () => done(true));
    socket.once("error", () => done(false));
    socket.bind(0, host, () => socket.send(options(host, port, "UDP", hostPort(host, socket.address().port)), port, host));
  });
}

function overTcp(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const done = (answered: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answered);
    };
    const timer = setTimeout(() => done(false), ANSWER_WITHIN_MS);
    socket.once("connect", () => socket.write(options(host, port, "TCP", hostPort(host, socket.localPort))));
    socket.once("data", () => done(true));
    socket.once("error", () => done(false));
  });
}
