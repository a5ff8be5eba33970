import { hostPort, type Uri } from "@carillon/sip";
import type { Transport } from "@carillon/wire/flow";

/** An address under which the cluster is known: what Via and Record-Route say, and what Route and Request-URI are compared with. */
export interface Address {
  readonly transport: Transport;
  /** IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Who the cluster is, the same on every pod. */
export interface Identity {
  /** The advertised address for each transport that is served; the first serves for the others. */
  readonly advertised: readonly [Address, ...Address[]];
  /** Further names and addresses that mean the cluster (listening addresses, served domains), in lower case. */
  readonly names: ReadonlySet<string>;
  /** Ports that are listened on. */
  readonly ports: ReadonlySet<number>;
}

export const DEFAULT_PORT = 5060;

export const defaultPort = (transport: Transport): number => (transport === "tls" || transport === "wss" ? 5061 : DEFAULT_PORT);

export function advertisedFor(identity: Identity, transport: Transport): Address {
  for (const address of identity.advertised) if (address.transport === transport) return address;
  return identity.advertised[0];
}

/** Whether host and port are the cluster's own. A missing port is the transport's default (RFC 3261 §19.1.2). */
export function isOurs(identity: Identity, host: string, port: number | undefined): boolean {
  const name = host.toLowerCase();
  const number = port ?? DEFAULT_PORT;
  for (const address of identity.advertised) if (address.port === number && address.host.toLowerCase() === name) return true;
  return identity.names.has(name) && (identity.ports.has(number) || port === undefined);
}

export const isOurUri = (identity: Identity, uri: Uri): boolean => (uri.scheme === "sip" || uri.scheme === "sips") && isOurs(identity, uri.host, uri.port);

/** `SIP/2.0/UDP host:port`. */
export function viaOf(address: Address, branch: string): string {
  return `SIP/2.0/${address.transport.toUpperCase()} ${hostPort(address.host, address.port)};branch=${branch}`;
}
