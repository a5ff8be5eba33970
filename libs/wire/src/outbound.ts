import { transportCode, transportOf, type Transport } from "./flow.ts";
import { Reader, writeLong, writeShort } from "./inbound.ts";

/**
 * Owner to ingress: `sip.out.<ingress>` or `sip.out.any`. The ingress sends `text` on `connection` if it has it; otherwise to host and port
 * (resolved by RFC 3263 where `host` is a name; port 0 means none was given), over a connection that it has or opens.
 */
export interface Outbound {
  readonly transport: Transport;
  readonly connection: string;
  /** IP literal (IPv6 without brackets) or name. */
  readonly host: string;
  readonly port: number;
  /** For a request: what an `undeliverable` names. Empty for a response, whose failure nobody waits for. */
  readonly callId: string;
  readonly branch: string;
  readonly method: string;
  readonly text: string;
}

const VERSION = 1;

const sizeOf = (outbound: Outbound): number =>
  15 + outbound.connection.length + outbound.host.length + outbound.callId.length + outbound.branch.length + outbound.method.length + outbound.text.length;

/** Many messages in one publish, sent in this order. version u8, then for each: transport u8 · connection · host · port u16 · callId16 · branch16 · method · text32. */
export function encodeOutbound(batch: readonly Outbound[]): Uint8Array {
  let size = 1;
  for (const outbound of batch) size += sizeOf(outbound);
  const bytes = Buffer.allocUnsafe(size);
  bytes[0] = VERSION;
  let at = 1;
  for (const outbound of batch) {
    bytes[at] = transportCode(outbound.transport);
    at = writeShort(bytes, at + 1, outbound.connection);
    at = writeShort(bytes, at, outbound.host);
    at = bytes.writeUInt16BE(outbound.port, at);
    at = writeLong(bytes, at, outbound.callId);
    at = writeLong(bytes, at, outbound.branch);
    at = writeShort(bytes, at, outbound.method);
    at = bytes.writeUInt32BE(outbound.text.length, at);
    at += bytes.write(outbound.text, at, "latin1");
  }
  return bytes.subarray(0, at);
}

/** Undefined for a version or form that this release does not know: the caller counts and drops it. */
export function decodeOutbound(payload: Uint8Array): readonly Outbound[] | undefined {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (bytes.length < 1 || bytes[0] !== VERSION) return undefined;
  const reader = new Reader(bytes, 1);
  const batch: Outbound[] = [];
  while (!reader.ended) {
    const transport = transportOf(reader.u8());
    const connection = reader.short();
    const host = reader.short();
    const port = reader.u16();
    const callId = reader.long();
    const branch = reader.long();
    const method = reader.short();
    const text = reader.text(reader.u32());
    if (transport === undefined || reader.overrun) return undefined;
    batch.push({ transport, connection, host, port, callId, branch, method, text });
  }
  return batch;
}
