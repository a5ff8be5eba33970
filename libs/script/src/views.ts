import { edit, readMessage, readNameAddr, readUri, reasonPhrase, type Message } from "@carillon/sip";

/** Headers that belong to the transaction and the proxy: a route reads them only. */
const PROTECTED = new Set(["via", "v", "from", "f", "to", "t", "call-id", "i", "cseq", "max-forwards", "record-route", "content-length", "l"]);
const NAME = /^[A-Za-z0-9\-.!%*_+`'~]+$/;

/** Bytes as latin1, as messages are held, to text as UTF-8, as routes see it. */
const seen = (bytes: string): string => (/[\u0080-\u00ff]/.test(bytes) ? Buffer.from(bytes, "latin1").toString("utf8") : bytes);
const held = (text: string): string => (/[\u0080-\uffff]/.test(text) ? Buffer.from(text, "utf8").toString("latin1") : text);

export interface AddressView {
  readonly uri: string;
  readonly user: string;
  readonly host: string;
  readonly display: string;
}

/** The headers of a message. Names in any case, compact forms too. */
export class Headers {
  readonly #view: MessageView;

  constructor(view: MessageView) {
    this.#view = view;
  }

  /** The first value; undefined where there is none. */
  get(name: string): string | undefined {
    const value = this.#view.message.header(name);
    return value === undefined ? undefined : seen(value);
  }

  all(name: string): readonly string[] {
    return this.#view.message.headers(name).map(seen);
  }

  has(name: string): boolean {
    return this.#view.message.header(name) !== undefined;
  }

  /** Replaces all lines of that name by one. Throws for a header of the transaction, and for a value with a line end. */
  set(name: string, value: string): void {
    this.#view.change((message) => edit(message).replace(writable(name), line(value)).toString());
  }

  /** A further line. */
  add(name: string, value: string): void {
    this.#view.change((message) => edit(message).append(writable(name), line(value)).toString());
  }

  remove(name: string): void {
    this.#view.change((message) => edit(message).drop(writable(name)).toString());
  }
}

function writable(name: string): string {
  if (!NAME.test(name)) throw new TypeError(`${JSON.stringify(name)} is no name of a header`);
  if (PROTECTED.has(name.toLowerCase())) throw new TypeError(`${name} belongs to the transaction: a route may only read it`);
  return name;
}

function line(value: string): string {
  if (/[\r\n\0]/.test(value)) throw new TypeError("a header's value has no line ends");
  return held(value);
}

/** What routes see of a message. */
export class MessageView {
  message: Message;
  readonly headers: Headers;

  constructor(text: string) {
    this.message = readOr(text);
    this.headers = new Headers(this);
  }

  get method(): string {
    return this.message.method;
  }

  get callId(): string {
    return this.message.callId;
  }

  get cseq(): number {
    return this.message.cseq.number;
  }

  get from(): AddressView {
    return addressOf(this.message.from.uri, this.message.from.display);
  }

  get to(): AddressView {
    return addressOf(this.message.to.uri, this.message.to.display);
  }

  /** The URI of the first Contact; undefined where there is none. */
  get contact(): string | undefined {
    return this.message.contact?.uri;
  }

  get contentType(): string {
    return this.headers.get("Content-Type") ?? "";
  }

  get body(): string {
    return seen(this.message.text.slice(this.message.index.bodyAt, this.message.end));
  }

  /** Replaces the body; Content-Length follows. */
  setBody(body: string, contentType?: string): void {
    this.change((message) =>
      edit(message)
        .body(held(body), contentType === undefined ? undefined : line(contentType))
        .toString(),
    );
  }

  change(change: (message: Message) => string): void {
    this.message = readOr(change(this.message));
  }
}

export class RequestView extends MessageView {
  get uri(): string {
    return this.message.requestUri;
  }

  /** Throws where it is no URI of SIP, or of a telephone. */
  set uri(uri: string) {
    this.message = readOr(edit(this.message).requestUri(checkedUri(uri)).toString());
  }

  /** User part of the Request-URI; empty where it has none. */
  get user(): string {
    return addressOf(this.uri, "").user;
  }

  get host(): string {
    return addressOf(this.uri, "").host;
  }
}

export class ResponseView extends MessageView {
  get status(): number {
    return this.message.status;
  }

  get reason(): string {
    return seen(this.message.reason);
  }

  set reason(reason: string) {
    const text = line(reason === "" ? reasonPhrase(this.status) : reason);
    this.message = readOr(edit(this.message).startLine(`SIP/2.0 ${this.status} ${text}`).toString());
  }
}

function readOr(text: string): Message {
  const read = readMessage(text);
  if (!read.ok) throw new TypeError(`what the route made is no SIP message: ${read.fault.detail}`);
  return read.value;
}

function addressOf(text: string, display: string): AddressView {
  const uri = readUri(text);
  return { uri: text, user: uri.ok ? uri.value.user : "", host: uri.ok ? uri.value.host : "", display: seen(display) };
}

/** The URI without angle brackets. Throws where it cannot be one of SIP, or of a telephone. */
export function checkedUri(text: string): string {
  const address = text.includes("<") ? readNameAddr(text) : undefined;
  const bare = address?.ok === true ? address.value.uri : text;
  const uri = readUri(bare);
  if (!uri.ok || /[\s<>\r\n\0]/.test(bare)) throw new TypeError(`${JSON.stringify(text)} is no SIP URI`);
  return bare;
}
