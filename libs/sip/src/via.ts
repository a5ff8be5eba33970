import { failed, type Read } from "./errors.ts";
import { readNumber, readParams, type Params } from "./params.ts";
import { readHostPort } from "./uri.ts";

/** One Via value (RFC 3261 §20.42). */
export interface Via {
  /** Upper case: `UDP`. */
  readonly transport: string;
  /** IPv6 without brackets. */
  readonly host: string;
  readonly port: number | undefined;
  /** `host[:port]` as it stands. */
  readonly sentBy: string;
  /** Empty if there is none. */
  readonly branch: string;
  readonly received: string | undefined;
  /** RFC 3581: `true` where it is asked for, a number where it is filled in. */
  readonly rport: number | true | undefined;
  readonly params: Params;
  readonly text: string;
}

export function readVia(text: string): Read<Via> {
  const slash = text.indexOf("/");
  const second = text.indexOf("/", slash + 1);
  if (slash < 0 || second < 0 || text.slice(0, slash).trim().toUpperCase() !== "SIP" || text.slice(slash + 1, second).trim() !== "2.0") {
    return failed("CARILLON_SIP_BAD_VIA", text);
  }
  let at = second + 1;
  while (text.charCodeAt(at) <= 0x20) at++;
  let end = at;
  while (end < text.length && text.charCodeAt(end) > 0x20) end++;
  const transport = text.slice(at, end).toUpperCase();
  const semicolon = text.indexOf(";", end);
  const sentBy = text.slice(end, semicolon < 0 ? text.length : semicolon).trim();
  const place = readHostPort(sentBy);
  if (transport === "" || place === undefined) return failed("CARILLON_SIP_BAD_VIA", text);
  const params = readParams(text, end);
  const rport = params.get("rport");
  return {
    ok: true,
    value: {
      transport,
      host: place.host,
      port: place.port,
      sentBy,
      branch: params.get("branch") ?? "",
      received: unbracketed(params.get("received")),
      rport: rport === undefined ? undefined : rport === "" ? true : (readNumber(rport) ?? true),
      params,
      text,
    },
  };
}

const unbracketed = (host: string | undefined): string | undefined => (host?.startsWith("[") === true ? host.slice(1, -1) : host);
