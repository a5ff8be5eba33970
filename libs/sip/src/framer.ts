import { fault, type Fault } from "./errors.ts";
import { canonicalName } from "./header-index.ts";
import type { Limits } from "./message.ts";
import { readNumber } from "./params.ts";

/** What a stream holds, in order. */
export type Frame =
  | { readonly kind: "message"; readonly text: string }
  /** A double CRLF between messages: to be answered with one CRLF (RFC 5626 §3.5.1). */
  | { readonly kind: "ping" }
  /** Nothing that follows can be trusted: the connection is to be closed (RFC 3261 §18.3). */
  | { readonly kind: "fault"; readonly fault: Fault };

/** Cuts a stream into messages by Content-Length (RFC 3261 §18.3). Holds at most one message's bytes; each byte is looked at a bounded number of times. */
export class StreamFramer {
  readonly #maxBytes: number;
  #pending: string[] = [];
  #size = 0;
  /** Up to where the end of the headers was looked for. */
  #searched = 0;
  /** Size of the message at hand once its headers are known; 0 before. */
  #wanted = 0;
  #broken = false;

  constructor(limits?: Limits) {
    this.#maxBytes = limits?.maxBytes ?? 65_536;
  }

  push(chunk: string): readonly Frame[] {
    if (this.#broken || chunk === "") return [];
    this.#pending.push(chunk);
    this.#size += chunk.length;
    if (this.#wanted > this.#size) return [];
    const frames: Frame[] = [];
    let text = this.#pending.length === 1 ? chunk : this.#pending.join("");
    for (;;) {
      if (this.#wanted === 0) {
        text = this.#skipBlank(text, frames);
        const refused = this.#measure(text);
        if (refused !== undefined) {
          this.#broken = true;
          this.#pending = [];
          frames.push({ kind: "fault", fault: refused });
          return frames;
        }
      }
      if (this.#wanted === 0 || text.length < this.#wanted) break;
      frames.push({ kind: "message", text: text.slice(0, this.#wanted) });
      text = text.slice(this.#wanted);
      this.#wanted = 0;
      this.#searched = 0;
    }
    this.#pending = text === "" ? [] : [text];
    this.#size = text.length;
    return frames;
  }

  /** Line ends before a start line are skipped (RFC 3261 §7.5); two CRLFs are a ping, a single one is the answer to one. */
  #skipBlank(text: string, frames: Frame[]): string {
    let at = 0;
    while (text.startsWith("\r\n", at)) {
      if (text.startsWith("\r\n", at + 2)) {
        frames.push({ kind: "ping" });
        at += 4;
      } else if (text.length === at + 2 || text.length === at + 3) {
        // Perhaps the first half of a ping: it is decided by what follows.
        break;
      } else at += 2;
    }
    if (at > 0) this.#searched = 0;
    return at === 0 ? text : text.slice(at);
  }

  /** Finds the end of the headers and the size of the message; a fault where there can be none. */
  #measure(text: string): Fault | undefined {
    const end = text.indexOf("\r\n\r\n", Math.max(0, this.#searched - 3));
    if (end < 0) {
      this.#searched = text.length;
      return text.length > this.#maxBytes ? fault("CARILLON_SIP_TOO_LARGE") : undefined;
    }
    const length = contentLength(text.slice(0, end + 2));
    if (length === undefined) return fault("CARILLON_SIP_NO_CONTENT_LENGTH");
    if (length < 0) return fault("CARILLON_SIP_BAD_CONTENT_LENGTH");
    const wanted = end + 4 + length;
    if (wanted > this.#maxBytes) return fault("CARILLON_SIP_TOO_LARGE");
    this.#wanted = wanted;
    return undefined;
  }
}

/** Content-Length among header lines; undefined if there is none, −1 if it is not a number. */
function contentLength(headers: string): number | undefined {
  for (let at = headers.indexOf("\r\n") + 2; at > 1 && at < headers.length; at = headers.indexOf("\r\n", at) + 2) {
    const code = headers.charCodeAt(at) | 0x20;
    if (code !== 0x63 && code !== 0x6c) continue;
    const end = headers.indexOf("\r\n", at);
    const colon = headers.indexOf(":", at);
    if (colon < 0 || colon > end || canonicalName(headers.slice(at, colon).trimEnd()) !== "content-length") continue;
    return readNumber(headers.slice(colon + 1, end).trim()) ?? -1;
  }
  return undefined;
}
