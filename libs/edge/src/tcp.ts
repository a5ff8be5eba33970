import { connect, createServer, type Server, type Socket } from "node:net";
import { StreamFramer, type Limits } from "@carillon/sip";
import type { EdgeCounted, Log } from "./counted.ts";

export interface TcpOptions {
  readonly limits: Limits;
  readonly maxConnections: number;
  /** A connection on which nothing came or went for so long is closed, milliseconds. */
  readonly idleMs: number;
  readonly log: Log;
  readonly count: (what: EdgeCounted) => void;
  readonly received: (text: string, connection: string, host: string, port: number) => void;
}

export interface TcpConnections {
  listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }>;
  /** Sends on the connection if it is there; otherwise on one to this address, which is opened where there is none. */
  send(text: string, connection: string, host: string, port: number, failed: (error: Error) => void): void;
  readonly size: number;
  /** No new connections from outside; those that are there are ended when nothing is left to write. */
  drain(): void;
  close(): void;
}

interface Connection {
  readonly id: string;
  readonly socket: Socket;
  readonly address: string;
}

const CONNECT_WITHIN_MS = 3_000;
/** A peer that does not read what it is sent is given up at this backlog. */
const MOST_BACKLOG_BYTES = 1024 * 1024;

export function tcpConnections(options: TcpOptions): TcpConnections {
  const { limits, maxConnections, idleMs, log, count, received } = options;
  const servers: Server[] = [];
  const connections = new Map<string, Connection>();
  const byAddress = new Map<string, Connection>();
  let serial = 0;
  let draining = false;

  const adopt = (socket: Socket, host: string, port: number): Connection => {
    const connection: Connection = { id: String(++serial), socket, address: `${host}|${port}` };
    connections.set(connection.id, connection);
    byAddress.set(connection.address, connection);
    count("connectionOpened");
    const framer = new StreamFramer(limits);
    socket.setNoDelay(true);
    socket.setTimeout(idleMs, () => socket.destroy());
    socket.on("data", (bytes) => {
      for (const frame of framer.push(bytes.toString("latin1"))) {
        switch (frame.kind) {
          case "message":
            received(frame.text, connection.id, host, port);
            break;
          case "ping":
            count("keepalive");
            write(connection, "\r\n", () => undefined);
            break;
          case "fault":
            count("framing");
            log.info({ fault: frame.fault.code, "network.peer.address": host }, "closed a connection that is not SIP");
            socket.destroy();
            return;
        }
      }
    });
    // The close event follows; there is nobody to tell but those whose write fails.
    socket.on("error", (error) => log.info({ err: error, "network.peer.address": host }, "connection failed"));
    socket.on("close", () => {
      count("connectionClosed");
      connections.delete(connection.id);
      if (byAddress.get(connection.address) === connection) byAddress.delete(connection.address);
    });
    return connection;
  };

  const write = (connection: Connection, text: string, failed: (error: Error) => void): void => {
    const { socket } = connection;
    if (socket.writableLength > MOST_BACKLOG_BYTES) {
      count("slowPeer");
      socket.destroy();
      failed(new Error("the peer does not read"));
      return;
    }
    socket.write(text, "latin1", (error) => {
      if (error !== null && error !== undefined) failed(error);
    });
  };

  const open = (host: string, port: number): Connection => {
    const socket = connect({ host, port, timeout: CONNECT_WITHIN_MS });
    const connection = adopt(socket, host, port);
    const slow = setTimeout(() => socket.destroy(new Error(`no connection to ${host}:${port} within ${CONNECT_WITHIN_MS} ms`)), CONNECT_WITHIN_MS);
    socket.once("connect", () => clearTimeout(slow));
    socket.once("close", () => clearTimeout(slow));
    return connection;
  };

  return {
    listen: (host, port) =>
      new Promise((resolve, reject) => {
        const server = createServer((socket) => {
          const { remoteAddress, remotePort } = socket;
          if (draining || connections.size >= maxConnections || remoteAddress === undefined || remotePort === undefined) {
            count("connectionRefused");
            socket.destroy();
            return;
          }
          adopt(socket, remoteAddress.replace(/^::ffff:/, ""), remotePort);
        });
        server.once("error", reject);
        server.listen({ host, port, reusePort: port !== 0 }, () => {
          server.off("error", reject);
          server.on("error", (error) => log.warn({ err: error }, "TCP listener"));
          servers.push(server);
          const bound = server.address();
          resolve(typeof bound === "object" && bound !== null ? { host: bound.address, port: bound.port } : { host, port });
        });
      }),
    send: (text, id, host, port, failed) => {
      const connection = connections.get(id) ?? byAddress.get(`${host}|${port}`);
      if (connection !== undefined) return write(connection, text, failed);
      if (connections.size >= maxConnections) return failed(new Error("too many connections"));
      write(open(host, port), text, failed);
    },
    get size() {
      return connections.size;
    },
    drain: () => {
      draining = true;
      for (const server of servers) server.close();
      for (const { socket } of connections.values()) socket.end();
    },
    close: () => {
      draining = true;
      for (const server of servers) server.close();
      for (const { socket } of connections.values()) socket.destroy();
    },
  };
}
