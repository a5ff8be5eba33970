import { trimmed } from "./blank.ts";

/** Where a separator outside of quoted strings and angle brackets stands, from `from` on; the text's length if nowhere. */
export function seek(text: string, separator: number, from: number): number {
  let quoted = false;
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (quoted) {
      if (code === 0x5c) at++;
      else if (code === 0x22) quoted = false;
    } else if (code === 0x22) quoted = true;
    else if (code === 0x3c) depth++;
    else if (code === 0x3e && depth > 0) depth--;
    else if (code === separator && depth === 0) return at;
  }
  return text.length;
}

const COMMA = 0x2c;
const SEMICOLON = 0x3b;

/** The values of a comma list (RFC 3261 §7.3.1), trimmed, empty ones left out. */
export function splitList(text: string): readonly string[] {
  if (!text.includes(",")) {
    const only = trimmed(text);
    return only === "" ? [] : [only];
  }
  const values: string[] = [];
  for (let at = 0; at <= text.length;) {
    const end = seek(text, COMMA, at);
    const value = trimmed(text.slice(at, end));
    if (value !== "") values.push(value);
    at = end + 1;
  }
  return values;
}

/** Start and end of each value of a comma list within the text; empty ones are left out as `splitList` does. */
export function listSpans(text: string): readonly (readonly [number, number])[] {
  if (!text.includes(",")) return trimmed(text) === "" ? [] : [[0, text.length]];
  const spans: (readonly [number, number])[] = [];
  for (let at = 0; at <= text.length;) {
    const end = seek(text, COMMA, at);
    if (trimmed(text.slice(at, end)) !== "") spans.push([at, end]);
    at = end + 1;
  }
  return spans;
}

export type Params = ReadonlyMap<string, string>;

const NONE: Params = new Map();

/** `;name=value;flag…` from `from` on: names in lower case, values as they stand, a flag's value is empty. The first of equal names counts. */
export function readParams(text: string, from: number): Params {
  let at = text.indexOf(";", from);
  if (at < 0) return NONE;
  const params = new Map<string, string>();
  while (at < text.length) {
    const end = seek(text, SEMICOLON, at + 1);
    const part = trimmed(text.slice(at + 1, end));
    if (part !== "") {
      const equals = part.indexOf("=");
      const name = trimmed(equals < 0 ? part : part.slice(0, equals)).toLowerCase();
      if (!params.has(name)) params.set(name, equals < 0 ? "" : trimmed(part.slice(equals + 1)));
    }
    at = end;
  }
  return params;
}

/** Digits only, below 2^31; undefined otherwise. */
export function readNumber(text: string): number | undefined {
  if (text.length === 0 || text.length > 10) return undefined;
  let number = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    number = number * 10 + digit;
  }
  return number < 2 ** 31 ? number : undefined;
}
