import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { EdgeCounted, Log } from "./counted.ts";

export interface UdpListener {
  readonly host: string;
  readonly port: number;
  send(text: string, host: string, port: number, failed: (error: Error) => void): void;
  close(): void;
}

export interface UdpOptions {
  readonly host: string;
  readonly port: number;
  readonly log: Log;
  readonly count: (what: EdgeCounted) => void;
  readonly received: (text: string, host: string, port: number) => void;
}

/** Asked of the kernel; what it grants is at most its `net.core.rmem_max`. */
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;

/** A UDP socket that other ingress processes of the machine may share. Rejects where the address cannot be bound. */
export function listenUdp(options: UdpOptions): Promise<UdpListener> {
  const { host, port, log, count, received } = options;
  // Several processes share a port only where each asks for it; a port of the system's choice is not shared.
  const socket = createSocket({ type: isIPv6(host) ? "udp6" : "udp4", reusePort: port !== 0 });
  socket.on("message", (bytes, from) => {
    if (bytes.length < 16) return count(isKeepalive(bytes) ? "keepalive" : "tooShort");
    // STUN (RFC 5389 §6): two zero bits first. A binding request keeps a binding open; we are no STUN server.
    if ((bytes[0] ?? 0) < 4) return count("keepalive");
    received(bytes.toString("latin1"), from.address, from.port);
  });
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ address: host, port, exclusive: true }, () => {
      socket.off("error", reject);
      socket.on("error", (error) => log.warn({ err: error }, "UDP socket"));
      widen(socket, log);
      const bound = socket.address();
      resolve({ host: bound.address, port: bound.port, send: sender(socket), close: () => socket.close() });
    });
  });
}

function sender(socket: Socket): UdpListener["send"] {
  return (text, host, port, failed) => {
    socket.send(Buffer.from(text, "latin1"), port, host, (error) => {
      if (error !== null && error !== undefined) failed(error);
    });
  };
}

function widen(socket: Socket, log: Log): void {
  try {
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  } catch (error) {
    log.warn({ err: error }, "the kernel refused a larger UDP receive buffer: raise net.core.rmem_max");
  }
}

/** CRLF, double CRLF or zero bytes: what phones send to keep a NAT binding open. */
const isKeepalive = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0x0d || byte === 0x0a || byte === 0);
