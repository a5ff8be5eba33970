import { edit, hostPort, readUri, type Message } from "@carillon/sip";
import type { Flow, Transport } from "@carillon/wire/flow";
import { digest } from "./digest.ts";
import { advertisedFor, isOurs, isOurUri, viaOf, type Identity } from "./identity.ts";
import { nextHopOf, type NextHop } from "./next-hop.ts";

/** RFC 3261 §8.1.1.7. */
export const MAGIC_COOKIE = "z9hG4bK";

/** How a request leaves: what its Route set and Request-URI make of it (RFC 3261 §16.4, §16.6, §16.12). */
export interface Departure {
  readonly requestUri: string;
  /** Leading Route values that are ours and go. */
  readonly dropRoutes: number;
  /** The last Route value goes: it was the Request-URI that a strict router upstream had moved there. */
  readonly dropLastRoute: boolean;
  /** A strict router downstream: its URI becomes the Request-URI, and this is appended to the Route set. */
  readonly appendRoute: string | undefined;
  readonly hop: NextHop;
}

/** Undefined where the next hop is not a SIP URI or cannot be read. `target` replaces the Request-URI of an initial request. */
export function departureOf(request: Message, target: string | undefined, identity: Identity, ingress: string): Departure | undefined {
  const routes = request.routes;
  let requestUri = target ?? request.requestUri;
  let last = routes.length;
  let dropLastRoute = false;
  if (target === undefined && last > 0 && isRecordRouteOfOurs(requestUri, identity)) {
    // RFC 3261 §16.4: the request came from a strict router; the true target is the last Route.
    requestUri = routes[last - 1]?.uri ?? requestUri;
    dropLastRoute = true;
    last--;
  }
  let dropRoutes = 0;
  while (dropRoutes < last) {
    const route = readUri(routes[dropRoutes]?.uri ?? "");
    if (!route.ok || !isOurUri(identity, route.value)) break;
    dropRoutes++;
  }
  const first = dropRoutes < last ? routes[dropRoutes] : undefined;
  const toward = readUri(first?.uri ?? requestUri);
  if (!toward.ok) return undefined;
  const hop = nextHopOf(toward.value, ingress);
  if (hop === undefined) return undefined;
  if (first === undefined || toward.value.params.has("lr")) return { requestUri, dropRoutes, dropLastRoute, appendRoute: undefined, hop };
  return { requestUri: first.uri, dropRoutes: dropRoutes + 1, dropLastRoute, appendRoute: `<${requestUri}>`, hop };
}

/** A Request-URI that is one of our Record-Route values: with `lr`, as we write it, or without, as old strict routers leave it. */
function isRecordRouteOfOurs(text: string, identity: Identity): boolean {
  const uri = readUri(text);
  return uri.ok && isOurUri(identity, uri.value) && (uri.value.params.has("lr") || uri.value.params.has("did"));
}

export interface Forwarding {
  readonly identity: Identity;
  readonly flow: Flow;
  readonly departure: Departure;
  readonly branch: string;
  /** The dialog that Record-Route names, and its proof; undefined: none is added. */
  readonly recordRoute: RouteMark | undefined;
  /** The CSeq number to write; undefined: as it is. */
  readonly cseq: number | undefined;
  /** The CSeq number to write into RAck (RFC 3262 §7.2); undefined: as it is. */
  readonly rack: number | undefined;
}

/** The request as it goes on (RFC 3261 §16.6); everything that the proxy does not own stays byte for byte. */
export function forwardedRequest(request: Message, forwarding: Forwarding): string {
  const { identity, flow, departure, branch } = forwarding;
  const change = edit(request);
  if (departure.requestUri !== request.requestUri) change.requestUri(departure.requestUri);
  change.prepend("Via", viaOf(advertisedFor(identity, departure.hop.transport), branch));
  const noted = viaAsReceived(request, flow);
  if (noted !== undefined) change.replaceFirst("Via", noted);
  if (forwarding.recordRoute !== undefined) {
    for (const value of recordRoutes(identity, flow.transport, departure.hop.transport, forwarding.recordRoute)) change.prepend("Record-Route", value);
  }
  if (departure.dropRoutes > 0) change.dropFirst("Route", departure.dropRoutes);
  if (departure.dropLastRoute) change.dropValue("Route", request.routes.length - 1);
  if (departure.appendRoute !== undefined) change.append("Route", departure.appendRoute);
  change.replace("Max-Forwards", String((request.maxForwards ?? 71) - 1));
  if (forwarding.cseq !== undefined && forwarding.cseq !== request.cseq.number) change.replace("CSeq", `${forwarding.cseq} ${request.method}`);
  const rack = request.rack;
  if (forwarding.rack !== undefined && rack !== undefined && rack.cseq !== forwarding.rack) {
    change.replace("RAck", `${rack.response} ${forwarding.rack} ${rack.method}`);
  }
  return change.toString();
}

/** The response as it goes on (RFC 3261 §16.7 step 3 and 9): without our Via, with the CSeq that its request came with. */
export function forwardedResponse(response: Message, cseq: number): string {
  const change = edit(response).dropFirst("Via");
  if (response.cseq.number !== cseq) change.replace("CSeq", `${cseq} ${response.cseq.method}`);
  return change.toString();
}

/** The top Via with `received` and `rport` as RFC 3261 §18.2.1 and RFC 3581 §4 want them; undefined where it stays as it is. */
function viaAsReceived(request: Message, flow: Flow): string | undefined {
  const via = request.topVia;
  const wantsRport = via.rport !== undefined;
  if (!wantsRport && via.host === flow.host && via.received === undefined) return undefined;
  // What the peer itself claims in these is dropped: it is the socket that knows.
  const kept = via.text
    .split(";")
    .filter((part, at) => at === 0 || !/^\s*(?:received|rport)\s*(?:=|$)/i.test(part))
    .join(";");
  return `${kept};received=${flow.host}${wantsRport ? `;rport=${flow.port}` : ""}`;
}

/** One Record-Route, or two where the transport changes (RFC 5658): the last of them goes on top, for the side that the request goes to. */
function recordRoutes(identity: Identity, inbound: Transport, outbound: Transport, mark: RouteMark): readonly string[] {
  return inbound === outbound ? [recordRoute(identity, inbound, mark)] : [recordRoute(identity, inbound, mark), recordRoute(identity, outbound, mark)];
}

function recordRoute(identity: Identity, transport: Transport, { did, proof }: RouteMark): string {
  const { host, port } = advertisedFor(identity, transport);
  return `<sip:${hostPort(host, port)}${transport === "udp" ? "" : `;transport=${transport}`};lr;did=${did};k=${proof}>`;
}

/** What our Record-Route carries besides the address. */
export interface RouteMark {
  readonly did: string;
  /** Shows that we were in the path of this Call-ID; nobody outside can make it who does not know the cluster's secret. */
  readonly proof: string;
}

export const routeMark = (did: string, callId: string, seed: number): RouteMark => ({ did, proof: digest(`route|${callId}`, seed) });

/** Whether a Route of this request is one that we recorded for its Call-ID: then it follows its Route set though its dialog is not known (any more). */
export function wasRecorded(request: Message, identity: Identity, seed: number): boolean {
  const { proof } = routeMark("", request.callId, seed);
  for (const route of request.routes) {
    const uri = readUri(route.uri);
    if (uri.ok && uri.value.params.get("k") === proof && isOurUri(identity, uri.value)) return true;
  }
  return false;
}

/** What makes a request the same one again in a loop, and another one in a spiral (RFC 3261 §16.6 step 8). */
export const loopMark = (request: Message, seed: number): string =>
  digest(`${request.requestUri}|${request.fromTag}|${request.toTag}|${request.callId}|${request.cseq.number}|${request.header("Route") ?? ""}`, seed);

/** Whether the request has been here with all that decides about its routing unchanged. */
export function isLooped(request: Message, identity: Identity, mark: string): boolean {
  if (request.vias.length < 2) return false;
  for (const via of request.vias) if (isOurs(identity, via.host, via.port) && via.branch.endsWith(`.${mark}`)) return true;
  return false;
}

/** The branch of a request that goes on: the same whenever the same request goes to the same target, on whichever pod (RFC 3261 §16.11). */
export const branchFor = (key: string, target: string, method: string, mark: string, seed: number): string =>
  `${MAGIC_COOKIE}${digest(`${key}|${target}|${method}`, seed)}.${mark}`;

/** Key of a server transaction (RFC 3261 §17.2.3; for peers of RFC 2543 that send no magic cookie, the headers that name the request). */
export function serverKey(request: Message): string {
  const via = request.topVia;
  if (via.branch.startsWith(MAGIC_COOKIE)) return `${via.branch}|${via.sentBy}`;
  return `2543|${request.requestUri}|${request.fromTag}|${request.cseq.number}|${via.text}`;
}
