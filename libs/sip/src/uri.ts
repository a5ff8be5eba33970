import { failed, type Read } from "./errors.ts";
import { readNumber, readParams, type Params } from "./params.ts";

/** A URI: `sip` and `sips` taken apart (RFC 3261 §19.1), of others only the scheme and the text. */
export interface Uri {
  /** Lower case. */
  readonly scheme: string;
  readonly user: string;
  readonly password: string;
  /** IPv6 without brackets; empty for other schemes than sip and sips. */
  readonly host: string;
  readonly port: number | undefined;
  /** Names in lower case; a flag's value is empty. */
  readonly params: Params;
  /** Without the question mark. */
  readonly headers: string;
  readonly text: string;
}

const NO_PARAMS: Params = new Map();

export function readUri(text: string): Read<Uri> {
  const colon = text.indexOf(":");
  if (colon <= 0) return failed("CARILLON_SIP_BAD_URI", text);
  const scheme = text.slice(0, colon).toLowerCase();
  if (!/^[a-z][a-z0-9+.-]*$/.test(scheme) || hasControl(text)) return failed("CARILLON_SIP_BAD_URI", text);
  if (scheme !== "sip" && scheme !== "sips") {
    if (colon + 1 === text.length) return failed("CARILLON_SIP_BAD_URI", text);
    return { ok: true, value: { scheme, user: "", password: "", host: "", port: undefined, params: NO_PARAMS, headers: "", text } };
  }
  // `;` and `?` may stand in the user part (RFC 3261 §25.1, user-unreserved), so the @ decides first.
  const sign = text.indexOf("@", colon);
  const hostAt = sign < 0 ? colon + 1 : sign + 1;
  const userinfo = sign < 0 ? "" : text.slice(colon + 1, sign);
  if (sign >= 0 && userinfo === "") return failed("CARILLON_SIP_BAD_URI", text);
  const pass = userinfo.indexOf(":");
  const question = text.indexOf("?", hostAt);
  const end = question < 0 ? text.length : question;
  const semicolon = text.indexOf(";", hostAt);
  const hostEnd = semicolon >= 0 && semicolon < end ? semicolon : end;
  const place = readHostPort(text.slice(hostAt, hostEnd));
  if (place === undefined) return failed("CARILLON_SIP_BAD_URI", text);
  return {
    ok: true,
    value: {
      scheme,
      user: pass < 0 ? userinfo : userinfo.slice(0, pass),
      password: pass < 0 ? "" : userinfo.slice(pass + 1),
      host: place.host,
      port: place.port,
      params: hostEnd < end ? readParams(text.slice(0, end), hostEnd) : NO_PARAMS,
      headers: question < 0 ? "" : text.slice(question + 1),
      text,
    },
  };
}

function hasControl(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code <= 0x20 || code === 0x7f || code === 0x3c || code === 0x3e || code === 0x22) return true;
  }
  return false;
}

/** `host[:port]`, IPv6 in brackets; undefined where it is none. */
export function readHostPort(text: string): { readonly host: string; readonly port: number | undefined } | undefined {
  let host = text;
  let portText: string | undefined;
  if (text.startsWith("[")) {
    const close = text.indexOf("]");
    if (close < 0 || !/^[0-9a-fA-F:.]+$/.test(text.slice(1, close))) return undefined;
    host = text.slice(1, close);
    const rest = text.slice(close + 1).trim();
    if (rest.startsWith(":")) portText = rest.slice(1);
    else if (rest !== "") return undefined;
  } else {
    const colon = text.indexOf(":");
    if (colon >= 0) {
      host = text.slice(0, colon);
      portText = text.slice(colon + 1);
    }
    host = host.trim();
    if (!/^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*)$/.test(host)) return undefined;
  }
  if (portText === undefined) return { host, port: undefined };
  const port = readNumber(portText.trim());
  return port === undefined || port > 65_535 ? undefined : { host, port };
}

/** `host:port`, IPv6 in brackets; without the port where there is none. */
export function hostPort(host: string, port: number | undefined): string {
  const bracketed = host.includes(":") ? `[${host}]` : host;
  return port === undefined || port === 0 ? bracketed : `${bracketed}:${port}`;
}

/** Parameters that make two URIs differ where only one has them (RFC 3261 §19.1.4). */
const DECISIVE = ["user", "ttl", "method", "maddr", "transport"];

/** RFC 3261 §19.1.4: whether two URIs are the same. Others than sip and sips: the same text. */
export function sameUri(a: Uri, b: Uri): boolean {
  if (a.scheme !== b.scheme) return false;
  if (a.scheme !== "sip" && a.scheme !== "sips") return a.text === b.text;
  if (unescaped(a.user) !== unescaped(b.user) || unescaped(a.password) !== unescaped(b.password)) return false;
  if (a.host.toLowerCase() !== b.host.toLowerCase() || a.port !== b.port) return false;
  for (const name of DECISIVE) if (a.params.has(name) !== b.params.has(name)) return false;
  for (const [name, value] of a.params) {
    const other = b.params.get(name);
    if (other !== undefined && unescaped(other).toLowerCase() !== unescaped(value).toLowerCase()) return false;
  }
  return sameHeaders(a.headers, b.headers);
}

const sameHeaders = (a: string, b: string): boolean => a === b || sortedHeaders(a) === sortedHeaders(b);

function sortedHeaders(text: string): string {
  return text
    .split("&")
    .filter((one) => one !== "")
    .map((one) => {
      const equals = one.indexOf("=");
      return equals < 0 ? one.toLowerCase() : one.slice(0, equals).toLowerCase() + unescaped(one.slice(equals));
    })
    .toSorted()
    .join("&");
}

/** `%41` is `A`: only what need not be escaped is compared unescaped (RFC 3261 §19.1.4); reserved characters stay escaped. */
function unescaped(text: string): string {
  if (!text.includes("%")) return text;
  return text.replace(/%([0-9a-fA-F]{2})/g, (escaped, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return /[A-Za-z0-9\-_.!~*'()]/.test(character) ? character : escaped.toUpperCase();
  });
}
