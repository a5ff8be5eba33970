import { trimmed } from "./blank.ts";
import { failed, type Read } from "./errors.ts";
import { readParams, seek, type Params } from "./params.ts";

/** An address: `"display" <uri>;params` or `uri;params` (RFC 3261 §20.10: without brackets the parameters are the header's). */
export interface NameAddr {
  /** Without quotes. */
  readonly display: string;
  readonly uri: string;
  readonly params: Params;
  /** The `tag` parameter; undefined if there is none. */
  readonly tag: string | undefined;
  readonly text: string;
}

export function readNameAddr(text: string): Read<NameAddr> {
  const open = openBracket(text);
  if (open >= 0) {
    const close = text.indexOf(">", open);
    if (close < 0) return failed("CARILLON_SIP_BAD_ADDRESS", text);
    const params = readParams(text, close + 1);
    const name = trimmed(text.slice(0, open));
    const uri = trimmed(text.slice(open + 1, close));
    if (uri === "") return failed("CARILLON_SIP_BAD_ADDRESS", text);
    return { ok: true, value: { display: unquoted(name), uri, params, tag: params.get("tag"), text } };
  }
  const end = seek(text, 0x3b, 0);
  const uri = trimmed(text.slice(0, end));
  if (uri === "" || uri.includes('"')) return failed("CARILLON_SIP_BAD_ADDRESS", text);
  const params = readParams(text, end);
  return { ok: true, value: { display: "", uri, params, tag: params.get("tag"), text } };
}

/** The first `<` outside of a quoted display name; −1 if there is none. */
function openBracket(text: string): number {
  const first = text.indexOf("<");
  const quote = text.indexOf('"');
  if (quote < 0 || quote > first) return first;
  for (let at = quote + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x5c) at++;
    else if (code === 0x22) return text.indexOf("<", at);
  }
  return -1;
}

const unquoted = (name: string): string => (name.startsWith('"') && name.endsWith('"') && name.length > 1 ? name.slice(1, -1).replace(/\\(.)/g, "$1") : name);
