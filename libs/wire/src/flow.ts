export type Transport = "udp" | "tcp" | "tls" | "ws" | "wss";

const CODES: readonly Transport[] = ["udp", "tcp", "tls", "ws", "wss"];

export const isTransport = (text: string): text is Transport => (CODES as readonly string[]).includes(text);

/** RFC 3261 §17: over these no message is retransmitted by the transaction layer. */
export const isReliable = (transport: Transport): boolean => transport !== "udp";

export const transportCode = (transport: Transport): number => CODES.indexOf(transport);

/** Undefined for a code that this version does not know. */
export const transportOf = (code: number): Transport | undefined => CODES[code];

/**
 * Where a message came from, and so where its answer goes: the ingress, its connection (empty over UDP), the peer's address as seen by the socket.
 */
export interface Flow {
  readonly transport: Transport;
  readonly ingress: string;
  /** Connection at that ingress; empty over UDP. */
  readonly connection: string;
  readonly host: string;
  readonly port: number;
}

/** `udp|<ingress>|<connection>|<port>|<host>`: IPv6 hosts without brackets. */
export const writeFlow = (flow: Flow): string => `${flow.transport}|${flow.ingress}|${flow.connection}|${flow.port}|${flow.host}`;

/** Undefined where the text is not a flow. */
export function readFlow(text: string): Flow | undefined {
  const [transport, ingress, connection, port, host] = text.split("|");
  if (transport === undefined || !isTransport(transport) || ingress === undefined || connection === undefined || host === undefined) return undefined;
  const number = Number(port);
  return Number.isInteger(number) && number >= 0 && number <= 65_535 ? { transport, ingress, connection, host, port: number } : undefined;
}
