import { trimmed } from "./blank.ts";
import { failed, fault, type Fault, type Read } from "./errors.ts";
import { canonicalName, indexHeaders, valueOf, type HeaderIndex } from "./header-index.ts";
import { readNameAddr, type NameAddr } from "./name-addr.ts";
import { readNumber, splitList } from "./params.ts";
import { readUri } from "./uri.ts";
import { readVia, type Via } from "./via.ts";

export interface Limits {
  /** Largest message, bytes. */
  readonly maxBytes?: number | undefined;
  /** Most header lines. */
  readonly maxHeaders?: number | undefined;
}

export interface Cseq {
  readonly number: number;
  readonly method: string;
}

export interface Rack {
  readonly response: number;
  readonly cseq: number;
  readonly method: string;
}

export interface Replaces {
  readonly callId: string;
  readonly toTag: string;
  readonly fromTag: string;
  readonly earlyOnly: boolean;
}

const NO_VIA: Via = { transport: "", host: "", port: undefined, sentBy: "", branch: "", received: undefined, rport: undefined, params: new Map(), text: "" };
const NO_ADDRESS: NameAddr = { display: "", uri: "", params: new Map(), tag: undefined, text: "" };

/**
 * A SIP message as its text (bytes as latin1) and an index of its header lines. Everything else is read when it is asked for, once. Never changed: `edit` makes a
 * new text.
 */
export class Message {
  readonly text: string;
  readonly index: HeaderIndex;
  readonly isRequest: boolean;
  /** Of the request; of a response the method of its CSeq. */
  readonly method: string;
  /** As it stands; empty for a response. */
  readonly requestUri: string;
  /** 0 for a request. */
  readonly status: number;
  readonly reason: string;
  /** Where the message ends: bytes beyond its Content-Length are not part of it (RFC 3261 §18.3). */
  readonly end: number;
  readonly cseq: Cseq;
  readonly callId: string;
  #from: NameAddr | undefined;
  #to: NameAddr | undefined;
  #topVia: Via | undefined;
  #vias: readonly Via[] | undefined;
  #routes: readonly NameAddr[] | undefined;
  #recordRoutes: readonly NameAddr[] | undefined;
  #contacts: readonly NameAddr[] | undefined;

  constructor(text: string, index: HeaderIndex, start: StartLine, end: number, cseq: Cseq, callId: string) {
    this.text = text;
    this.index = index;
    this.isRequest = start.isRequest;
    this.method = start.isRequest ? start.method : cseq.method;
    this.requestUri = start.requestUri;
    this.status = start.status;
    this.reason = start.reason;
    this.end = end;
    this.cseq = cseq;
    this.callId = callId;
    this.#from = undefined;
    this.#to = undefined;
    this.#topVia = undefined;
    this.#vias = undefined;
    this.#routes = undefined;
    this.#recordRoutes = undefined;
    this.#contacts = undefined;
  }

  /** First value of a header, unfolded and trimmed. Any case, compact or long name. */
  header(name: string): string | undefined {
    const at = this.index.names.indexOf(canonicalName(name));
    return at < 0 ? undefined : valueOf(this.text, this.index, at);
  }

  /** The values of all lines of a header. */
  headers(name: string): readonly string[] {
    const wanted = canonicalName(name);
    const values: string[] = [];
    const { names } = this.index;
    for (let at = names.indexOf(wanted); at >= 0; at = names.indexOf(wanted, at + 1)) values.push(valueOf(this.text, this.index, at));
    return values;
  }

  /** The values of a header whose grammar is a comma list, over all its lines. */
  list(name: string): readonly string[] {
    const lines = this.headers(name);
    return lines.length === 0 ? lines : lines.flatMap((line) => splitList(line));
  }

  get topVia(): Via {
    if (this.#topVia === undefined) {
      const line = this.header("via") ?? "";
      const read = readVia(line.includes(",") ? (splitList(line)[0] ?? "") : line);
      this.#topVia = read.ok ? read.value : NO_VIA;
    }
    return this.#topVia;
  }

  /** All Via values that can be read, topmost first. */
  get vias(): readonly Via[] {
    this.#vias ??= this.list("via").flatMap((value) => {
      const read = readVia(value);
      return read.ok ? [read.value] : [];
    });
    return this.#vias;
  }

  get from(): NameAddr {
    this.#from ??= addressOr(this.header("from"));
    return this.#from;
  }

  get to(): NameAddr {
    this.#to ??= addressOr(this.header("to"));
    return this.#to;
  }

  /** Empty if there is none. */
  get fromTag(): string {
    return this.from.tag ?? "";
  }

  /** Empty if there is none. */
  get toTag(): string {
    return this.to.tag ?? "";
  }

  get contact(): NameAddr | undefined {
    return this.contacts[0];
  }

  get contacts(): readonly NameAddr[] {
    this.#contacts ??= this.#addresses("contact");
    return this.#contacts;
  }

  get routes(): readonly NameAddr[] {
    this.#routes ??= this.#addresses("route");
    return this.#routes;
  }

  get recordRoutes(): readonly NameAddr[] {
    this.#recordRoutes ??= this.#addresses("record-route");
    return this.#recordRoutes;
  }

  get maxForwards(): number | undefined {
    return this.#number("max-forwards");
  }

  get expires(): number | undefined {
    return this.#number("expires");
  }

  get contentType(): string | undefined {
    return this.header("content-type");
  }

  get require(): readonly string[] {
    return this.list("require");
  }

  get proxyRequire(): readonly string[] {
    return this.list("proxy-require");
  }

  get supported(): readonly string[] {
    return this.list("supported");
  }

  /** RFC 3262 §7.2; undefined where it is missing or cannot be read. */
  get rack(): Rack | undefined {
    const [response, cseq, method, ...more] = (this.header("rack") ?? "").split(/\s+/, 4);
    const responseNumber = readNumber(response ?? "");
    const cseqNumber = readNumber(cseq ?? "");
    if (responseNumber === undefined || cseqNumber === undefined || method === undefined || more.length > 0) return undefined;
    return { response: responseNumber, cseq: cseqNumber, method };
  }

  /** RFC 3891; undefined where it is missing or lacks a tag. */
  get replaces(): Replaces | undefined {
    const value = this.header("replaces");
    if (value === undefined) return undefined;
    const [callId, ...params] = value.split(";");
    const named = new Map(
      params.map((one) => [one.split("=", 1)[0]?.trim().toLowerCase() ?? "", one.includes("=") ? one.slice(one.indexOf("=") + 1).trim() : ""]),
    );
    const toTag = named.get("to-tag");
    const fromTag = named.get("from-tag");
    if (callId === undefined || callId.trim() === "" || toTag === undefined || fromTag === undefined) return undefined;
    return { callId: callId.trim(), toTag, fromTag, earlyOnly: named.has("early-only") };
  }

  get referTo(): NameAddr | undefined {
    const read = readNameAddr(this.header("refer-to") ?? "");
    return read.ok ? read.value : undefined;
  }

  get body(): string {
    return this.text.slice(this.index.bodyAt, this.end);
  }

  /** What a proxy needs beyond `readMessage`: the URIs and addresses that it routes by can be read. */
  fault(): Fault | undefined {
    if (this.isRequest) {
      const target = readUri(this.requestUri);
      if (!target.ok) return target.fault;
    }
    if (this.from.uri === "") return fault("CARILLON_SIP_BAD_ADDRESS", this.header("from"));
    if (this.to.uri === "") return fault("CARILLON_SIP_BAD_ADDRESS", this.header("to"));
    if (this.index.names.includes("max-forwards") && this.maxForwards === undefined) return fault("CARILLON_SIP_BAD_NUMBER", this.header("max-forwards"));
    if (this.index.names.includes("route") && !this.#allRead("route", this.routes)) return fault("CARILLON_SIP_BAD_ADDRESS", this.header("route"));
    return undefined;
  }

  #allRead(name: string, read: readonly NameAddr[]): boolean {
    return read.length === this.list(name).length && read.every((address) => readUri(address.uri).ok);
  }

  #number(name: string): number | undefined {
    const value = this.header(name);
    return value === undefined ? undefined : readNumber(value);
  }

  #addresses(name: string): readonly NameAddr[] {
    if (!this.index.names.includes(name)) return [];
    return this.list(name).flatMap((value) => {
      const read = readNameAddr(value);
      return read.ok ? [read.value] : [];
    });
  }
}

function addressOr(value: string | undefined): NameAddr {
  const read = readNameAddr(value ?? "");
  return read.ok ? read.value : NO_ADDRESS;
}

interface StartLine {
  readonly isRequest: boolean;
  readonly method: string;
  readonly requestUri: string;
  readonly status: number;
  readonly reason: string;
}

function readStartLine(line: string): Read<StartLine> {
  if (line.startsWith("SIP/")) {
    const status = readNumber(line.slice(8, 11));
    if (!line.startsWith("SIP/2.0 ")) return failed("CARILLON_SIP_VERSION", line);
    if (status === undefined || status < 100 || status > 699 || (line.length > 11 && line.charCodeAt(11) !== 0x20))
      return failed("CARILLON_SIP_START_LINE", line);
    return { ok: true, value: { isRequest: false, method: "", requestUri: "", status, reason: line.slice(12) } };
  }
  const space = line.indexOf(" ");
  const last = line.lastIndexOf(" ");
  if (space <= 0 || last === space || !isMethod(line.slice(0, space))) return failed("CARILLON_SIP_START_LINE", line);
  const version = line.slice(last + 1);
  const requestUri = line.slice(space + 1, last);
  if (version !== "SIP/2.0") {
    if (/^SIP\/\d+\.\d+$/i.test(version) && version.toUpperCase() !== "SIP/2.0") return failed("CARILLON_SIP_VERSION", version);
    if (version.toUpperCase() !== "SIP/2.0") return failed("CARILLON_SIP_START_LINE", line);
  }
  if (requestUri === "") return failed("CARILLON_SIP_START_LINE", line);
  return { ok: true, value: { isRequest: true, method: line.slice(0, space), requestUri, status: 0, reason: "" } };
}

function isMethod(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const letter = (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39);
    if (!letter && !"-.!%*_+`'~".includes(text.charAt(at))) return false;
  }
  return text.length <= 64;
}

function readCseq(value: string | undefined): Cseq | undefined {
  if (value === undefined) return undefined;
  let space = 0;
  while (space < value.length && value.charCodeAt(space) > 0x20) space++;
  const number = readNumber(value.slice(0, space));
  const method = trimmed(value.slice(space));
  return number === undefined || method === "" || !isMethod(method) ? undefined : { number, method };
}

/** Reads start line and header lines; checks what every message needs (RFC 3261 §8.1.1, §18.3, §20). What is inside the headers is read when asked for. */
export function readMessage(text: string, limits?: Limits): Read<Message> {
  if (text.length > (limits?.maxBytes ?? 65_536)) return failed("CARILLON_SIP_TOO_LARGE");
  const feed = text.indexOf("\n");
  if (feed < 0) return failed("CARILLON_SIP_LINE_END");
  const lineEnd = feed > 0 && text.charCodeAt(feed - 1) === 0x0d ? "\r\n" : "\n";
  const start = readStartLine(text.slice(0, feed + 1 - lineEnd.length));
  if (!start.ok) return start;
  const indexed = indexHeaders(text, feed + 1, lineEnd, limits?.maxHeaders ?? 256);
  if (!indexed.ok) return indexed;
  const index = indexed.value;
  const { names } = index;
  const viaAt = names.indexOf("via");
  if (viaAt < 0) return failed("CARILLON_SIP_NO_VIA");
  if (!names.includes("from")) return failed("CARILLON_SIP_NO_FROM");
  if (!names.includes("to")) return failed("CARILLON_SIP_NO_TO");
  const callIdAt = names.indexOf("call-id");
  const callId = callIdAt < 0 ? "" : valueOf(text, index, callIdAt);
  if (callId === "") return failed("CARILLON_SIP_NO_CALL_ID");
  const cseqAt = names.indexOf("cseq");
  const cseq = readCseq(cseqAt < 0 ? undefined : valueOf(text, index, cseqAt));
  if (cseq === undefined || (start.value.isRequest && cseq.method !== start.value.method)) return failed("CARILLON_SIP_BAD_CSEQ");
  const end = readEnd(text, index);
  if (end === undefined) return failed("CARILLON_SIP_BAD_CONTENT_LENGTH");
  const message = new Message(text, index, start.value, end, cseq, callId);
  if (message.topVia === NO_VIA) return failed("CARILLON_SIP_BAD_VIA", message.header("via"));
  return { ok: true, value: message };
}

function readEnd(text: string, index: HeaderIndex): number | undefined {
  let end = text.length;
  let said: number | undefined;
  for (let at = index.names.indexOf("content-length"); at >= 0; at = index.names.indexOf("content-length", at + 1)) {
    const length = readNumber(valueOf(text, index, at));
    if (length === undefined || index.bodyAt + length > text.length || (said !== undefined && said !== length)) return undefined;
    said = length;
    end = index.bodyAt + length;
  }
  return end;
}

/**
 * What can be read of a message that `readMessage` refuses, enough to answer a request: undefined where Via, From, To, Call-ID or CSeq are not there. Its body and
 * length are not to be trusted.
 */
export function readFaulty(text: string): Message | undefined {
  const feed = text.indexOf("\n");
  if (feed < 0) return undefined;
  const lineEnd = feed > 0 && text.charCodeAt(feed - 1) === 0x0d ? "\r\n" : "\n";
  const line = text.slice(0, feed + 1 - lineEnd.length);
  if (line.startsWith("SIP/")) return undefined;
  const method = line.split(" ", 1)[0] ?? "";
  if (!isMethod(method) || method === "") return undefined;
  const whole = text.includes(lineEnd + lineEnd) ? text : `${text}${text.endsWith(lineEnd) ? "" : lineEnd}${lineEnd}`;
  const indexed = indexHeaders(whole, feed + 1, lineEnd, 1_024);
  if (!indexed.ok) return undefined;
  const index = indexed.value;
  const { names } = index;
  if (!names.includes("via") || !names.includes("from") || !names.includes("to") || !names.includes("cseq")) return undefined;
  const callIdAt = names.indexOf("call-id");
  const callId = callIdAt < 0 ? "" : valueOf(whole, index, callIdAt);
  if (callId === "") return undefined;
  const start: StartLine = { isRequest: true, method, requestUri: line.split(" ", 2)[1] ?? "", status: 0, reason: "" };
  const message = new Message(whole, index, start, whole.length, readCseq(valueOf(whole, index, names.indexOf("cseq"))) ?? { number: 0, method }, callId);
  return message.topVia === NO_VIA || message.from.uri === "" || message.to.uri === "" ? undefined : message;
}
