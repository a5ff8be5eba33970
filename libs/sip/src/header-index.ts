import { isBlank, unfolded } from "./blank.ts";
import { failed, type Read } from "./errors.ts";

/** Where the header lines of a message are. Line `n` spans `starts[n]` to `nexts[n]`, its line end included; its value begins at `values[n]`. */
export interface HeaderIndex {
  /** Long names in lower case. */
  readonly names: readonly string[];
  readonly starts: readonly number[];
  readonly values: readonly number[];
  readonly nexts: readonly number[];
  /** First byte of the body. */
  readonly bodyAt: number;
  /** `\r\n`, or `\n` where the whole message uses that. */
  readonly lineEnd: string;
}

/** RFC 3261 §7.3.3 and the extensions that registered a compact form. */
const COMPACT: Readonly<Record<string, string>> = {
  a: "accept-contact",
  b: "referred-by",
  c: "content-type",
  d: "request-disposition",
  e: "content-encoding",
  f: "from",
  i: "call-id",
  j: "reject-contact",
  k: "supported",
  l: "content-length",
  m: "contact",
  n: "identity-info",
  o: "event",
  r: "refer-to",
  s: "subject",
  t: "to",
  u: "allow-events",
  v: "via",
  x: "session-expires",
  y: "identity",
};

/** Spellings met so far and their canonical names: the same few dozen in every message. */
const known = new Map<string, string>();
const MOST_KNOWN = 2_000;

/** The long name in lower case. */
export function canonicalName(name: string): string {
  const found = known.get(name);
  if (found !== undefined) return found;
  const lower = name.toLowerCase();
  const canonical = (lower.length === 1 ? COMPACT[lower] : undefined) ?? lower;
  if (known.size < MOST_KNOWN) known.set(name, canonical);
  return canonical;
}

const CR = 0x0d;
const COLON = 0x3a;

/** Indexes the lines after the start line, which ends before `at`. */
export function indexHeaders(text: string, at: number, lineEnd: string, maxHeaders: number): Read<HeaderIndex> {
  const names: string[] = [];
  const starts: number[] = [];
  const values: number[] = [];
  const nexts: number[] = [];
  const size = lineEnd.length;
  for (let start = at; ;) {
    const feed = text.indexOf("\n", start);
    const end = feed + 1 - size;
    // A bare line feed among CRLFs would be a line end to some readers and none to others.
    if (feed < 0 || (size === 2 && text.charCodeAt(end) !== CR)) return failed("CARILLON_SIP_LINE_END");
    if (end === start) return { ok: true, value: { names, starts, values, nexts, bodyAt: end + size, lineEnd } };
    const first = text.charCodeAt(start);
    if (first === 0x20 || first === 0x09) {
      // RFC 3261 §7.3.1: a folded line belongs to the one before.
      if (names.length === 0) return failed("CARILLON_SIP_HEADER_LINE");
      nexts[nexts.length - 1] = end + size;
    } else {
      let colon = start;
      let code = first;
      while (code !== COLON && colon < end) code = text.charCodeAt(++colon);
      if (code !== COLON || colon === start) return failed("CARILLON_SIP_HEADER_LINE", text.slice(start, end));
      let nameEnd = colon;
      while (nameEnd > start && isBlank(text.charCodeAt(nameEnd - 1))) nameEnd--;
      const name = text.slice(start, nameEnd);
      if (nameEnd === start || !isToken(name)) return failed("CARILLON_SIP_HEADER_LINE", text.slice(start, end));
      if (names.length >= maxHeaders) return failed("CARILLON_SIP_TOO_MANY_HEADERS");
      let value = colon + 1;
      while (value < end && isBlank(text.charCodeAt(value))) value++;
      names.push(canonicalName(name));
      starts.push(start);
      values.push(value);
      nexts.push(end + size);
    }
    start = end + size;
  }
}

function isToken(name: string): boolean {
  if (known.has(name)) return true;
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (code <= 0x20 || code >= 0x7f || code === 0x22 || code === 0x2c || code === 0x3b || code === 0x3c || code === 0x3e || code === 0x40) return false;
  }
  return true;
}

/** The value of line `n`: folded lines joined by a space, trimmed. */
export function valueOf(text: string, index: HeaderIndex, n: number): string {
  return unfolded(text.slice(index.values[n] ?? 0, (index.nexts[n] ?? 0) - index.lineEnd.length));
}
