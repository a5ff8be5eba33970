import { valueOf } from "./header-index.ts";
import type { Message } from "./message.ts";
import { reasonPhrase } from "./reasons.ts";

export type HeaderLine = readonly [name: string, value: string];

export interface ResponseOptions {
  readonly reason?: string | undefined;
  /** Added to To where it has no tag and the status is above 100. */
  readonly toTag?: string | undefined;
  readonly headers?: readonly HeaderLine[] | undefined;
  readonly body?: string | undefined;
}

/** A response to a request (RFC 3261 §8.2.6): Via, From, To, Call-ID and CSeq as they came, Record-Route for 101 to 299 (§12.1.1), Timestamp for 100. */
export function writeResponse(request: Message, status: number, options: ResponseOptions = {}): string {
  const { text, index } = request;
  let out = `SIP/2.0 ${status} ${options.reason ?? reasonPhrase(status)}\r\n`;
  for (let at = 0; at < index.names.length; at++) {
    const name = index.names[at];
    const copied =
      name === "via" ||
      name === "from" ||
      name === "call-id" ||
      name === "cseq" ||
      (name === "record-route" && status > 100 && status < 300) ||
      (name === "timestamp" && status === 100);
    if (copied) out += lineOf(request, at);
    else if (name === "to") {
      const tagged = status === 100 || options.toTag === undefined || request.to.tag !== undefined;
      out += tagged ? lineOf(request, at) : `To: ${valueOf(text, index, at)};tag=${options.toTag}\r\n`;
    }
  }
  for (const [name, value] of options.headers ?? []) out += `${name}: ${value}\r\n`;
  const body = options.body ?? "";
  return `${out}Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** Header line `n` as it came, its line ends CRLF also where the request uses bare line feeds. */
function lineOf({ text, index }: Message, n: number): string {
  const line = text.slice(index.starts[n], index.nexts[n]);
  return index.lineEnd === "\n" ? line.replaceAll(/\r?\n/g, "\r\n") : line;
}

export interface RequestParts {
  readonly method: string;
  readonly requestUri: string;
  readonly vias: readonly string[];
  readonly from: string;
  readonly to: string;
  readonly callId: string;
  readonly cseq: number;
  readonly maxForwards?: number | undefined;
  readonly routes?: readonly string[] | undefined;
  readonly headers?: readonly HeaderLine[] | undefined;
  readonly body?: string | undefined;
}

/** A request of our own (RFC 3261 §8.1.1). Values are written as given. */
export function writeRequest(parts: RequestParts): string {
  let out = `${parts.method} ${parts.requestUri} SIP/2.0\r\n`;
  for (const via of parts.vias) out += `Via: ${via}\r\n`;
  for (const route of parts.routes ?? []) out += `Route: ${route}\r\n`;
  out += `Max-Forwards: ${parts.maxForwards ?? 70}\r\nFrom: ${parts.from}\r\nTo: ${parts.to}\r\nCall-ID: ${parts.callId}\r\nCSeq: ${parts.cseq} ${parts.method}\r\n`;
  for (const [name, value] of parts.headers ?? []) out += `${name}: ${value}\r\n`;
  const body = parts.body ?? "";
  return `${out}Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** The ACK for a response of 300 or more (RFC 3261 §17.1.1.3): the INVITE's own hop, with the To of the response. */
export function writeAck(invite: Message, response: Message): string {
  return followUp(invite, "ACK", response.header("to") ?? invite.to.text);
}

/** The CANCEL of an INVITE that we sent (RFC 3261 §9.1). */
export function writeCancel(invite: Message): string {
  return followUp(invite, "CANCEL", invite.header("to") ?? invite.to.text);
}

function followUp(invite: Message, method: "ACK" | "CANCEL", to: string): string {
  return writeRequest({
    method,
    requestUri: invite.requestUri,
    vias: [invite.topVia.text],
    routes: invite.headers("route"),
    from: invite.header("from") ?? "",
    to,
    callId: invite.callId,
    cseq: invite.cseq.number,
  });
}
