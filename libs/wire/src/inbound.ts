import { transportCode, transportOf, type Flow } from "./flow.ts";

/** Ingress to the owner of the Call-ID: `sip.in.<p>`. */
export type Inbound =
  | {
      readonly kind: "message";
      readonly flow: Flow;
      /** When the ingress took it from the socket, milliseconds of its own clock. */
      readonly receivedAtMs: number;
      /** The SIP message as latin1 text, byte for byte. */
      readonly text: string;
    }
  /** A request could not be sent (no route, refused connection, unresolvable host): RFC 3261 §16.9 treats it as a 503 on that branch. */
  | { readonly kind: "undeliverable"; readonly callId: string; readonly branch: string; readonly method: string; readonly fault: string };

const VERSION = 1;
const MESSAGE = 1;
const UNDELIVERABLE = 2;

/**
 * version u8 · kind u8 · … where a string is its length (u8, or u16 for a Call-ID) and its latin1 bytes.
 * message: transport u8 · ingress · connection · host · port u16 · receivedAtMs f64 · text to the end.
 * undeliverable: callId16 · branch16 · method · fault.
 */
export function encodeInbound(inbound: Inbound): Uint8Array {
  if (inbound.kind === "message") {
    const { flow, text } = inbound;
    const bytes = Buffer.allocUnsafe(16 + flow.ingress.length + flow.connection.length + flow.host.length + text.length);
    bytes[0] = VERSION;
    bytes[1] = MESSAGE;
    bytes[2] = transportCode(flow.transport);
    let at = writeShort(bytes, 3, flow.ingress);
    at = writeShort(bytes, at, flow.connection);
    at = writeShort(bytes, at, flow.host);
    at = bytes.writeUInt16BE(flow.port, at);
    at = bytes.writeDoubleBE(inbound.receivedAtMs, at);
    at += bytes.write(text, at, "latin1");
    return bytes.subarray(0, at);
  }
  const { callId, branch, method, fault } = inbound;
  const bytes = Buffer.allocUnsafe(8 + callId.length + branch.length + method.length + fault.length);
  bytes[0] = VERSION;
  bytes[1] = UNDELIVERABLE;
  let at = writeLong(bytes, 2, callId);
  at = writeLong(bytes, at, branch);
  at = writeShort(bytes, at, method);
  at = writeShort(bytes, at, fault);
  return bytes.subarray(0, at);
}

/** Undefined for a version or form that this release does not know: the caller counts and drops it. */
export function decodeInbound(payload: Uint8Array): Inbound | undefined {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (bytes.length < 4 || bytes[0] !== VERSION) return undefined;
  const reader = new Reader(bytes, 2);
  if (bytes[1] === MESSAGE) {
    const transport = transportOf(reader.u8());
    const ingress = reader.short();
    const connection = reader.short();
    const host = reader.short();
    const port = reader.u16();
    const receivedAtMs = reader.f64();
    if (transport === undefined || reader.overrun) return undefined;
    return { kind: "message", flow: { transport, ingress, connection, host, port }, receivedAtMs, text: reader.rest() };
  }
  if (bytes[1] === UNDELIVERABLE) {
    const callId = reader.long();
    const branch = reader.long();
    const method = reader.short();
    const fault = reader.short();
    return reader.overrun ? undefined : { kind: "undeliverable", callId, branch, method, fault };
  }
  return undefined;
}

/** At most 255 characters: peers choose some of these texts (a `maddr`, a `received`), and one that is too long shall not spoil the batch that it is in. */
export function writeShort(bytes: Buffer, at: number, text: string): number {
  const length = Math.min(text.length, 255);
  bytes[at] = length;
  return at + 1 + bytes.write(text, at + 1, length, "latin1");
}

export function writeLong(bytes: Buffer, at: number, text: string): number {
  bytes.writeUInt16BE(text.length, at);
  return at + 2 + bytes.write(text, at + 2, "latin1");
}

/** Reads fields one after another; past the end it sets `overrun` and gives zeros and empty strings. */
export class Reader {
  readonly #bytes: Buffer;
  #at: number;
  overrun = false;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get ended(): boolean {
    return this.overrun || this.#at >= this.#bytes.length;
  }

  u8(): number {
    return this.#has(1) ? this.#bytes.readUInt8(this.#at++) : 0;
  }

  u16(): number {
    if (!this.#has(2)) return 0;
    this.#at += 2;
    return this.#bytes.readUInt16BE(this.#at - 2);
  }

  u32(): number {
    if (!this.#has(4)) return 0;
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  f64(): number {
    if (!this.#has(8)) return 0;
    this.#at += 8;
    return this.#bytes.readDoubleBE(this.#at - 8);
  }

  short(): string {
    return this.text(this.u8());
  }

  long(): string {
    return this.text(this.u16());
  }

  text(length: number): string {
    if (!this.#has(length)) return "";
    this.#at += length;
    return this.#bytes.toString("latin1", this.#at - length, this.#at);
  }

  rest(): string {
    return this.text(this.#bytes.length - this.#at);
  }

  #has(length: number): boolean {
    if (this.#at + length <= this.#bytes.length) return true;
    this.overrun = true;
    return false;
  }
}
