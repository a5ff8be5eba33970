import { readUri, type Uri } from "@carillon/sip";
import { isTransport, readFlow, type Flow, type Transport } from "@carillon/wire/flow";

/** Where a request goes: the edge resolves the name, finds or opens the connection (RFC 3261 §18.1, RFC 3263). */
export interface NextHop {
  readonly transport: Transport;
  readonly host: string;
  /** 0: none was given. */
  readonly port: number;
  /** The ingress that shall send it, and its connection; empty: any. */
  readonly ingress: string;
  readonly connection: string;
}

/** The next hop of a URI; undefined where it is not a SIP URI. `ingress` is the one that shall send. */
export function nextHopOf(uri: Uri, ingress: string): NextHop | undefined {
  if (uri.scheme !== "sip" && uri.scheme !== "sips") return undefined;
  const named = (uri.params.get("transport") ?? "").toLowerCase();
  const transport: Transport = uri.scheme === "sips" ? "tls" : isTransport(named) ? named : "udp";
  return { transport, host: uri.params.get("maddr") ?? uri.host, port: uri.port ?? 0, ingress, connection: "" };
}

/**
 * The next hop toward a leg that was last heard on `flow`: over the leg's own connection where it is reached directly by a reliable transport and that is its address;
 * otherwise as its URI says.
 */
export function nextHopToward(text: string, flow: string): NextHop | undefined {
  const uri = readUri(text);
  if (!uri.ok) return undefined;
  const heard = readFlow(flow);
  const hop = nextHopOf(uri.value, heard?.ingress ?? "");
  if (hop === undefined || heard === undefined) return hop;
  return heard.connection !== "" && heard.transport === hop.transport && heard.host === hop.host ? { ...hop, connection: heard.connection } : hop;
}

/** Where a response goes (RFC 3261 §18.2.2, RFC 3581 §4). `sentByPort` is that of the request's top Via. */
export function responseHop(flow: Flow, sentByPort: number | undefined, rport: boolean): NextHop {
  const { transport, host, ingress, connection } = flow;
  const port = rport ? flow.port : (sentByPort ?? (transport === "tls" || transport === "wss" ? 5061 : 5060));
  return { transport, host, port, ingress, connection };
}
