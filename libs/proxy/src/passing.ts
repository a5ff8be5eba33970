import { readMessage, writeResponse, type Message } from "@carillon/sip";
import { startClientNonInvite, startServerNonInvite, stepClientNonInvite, stepServerNonInvite, T1_MS, type ServerNonInviteEvent } from "@carillon/transaction";
import { isReliable, type Flow } from "@carillon/wire/flow";
import type { Call, RequestContext, WaitingRequest } from "./call.ts";
import { unmapped } from "./cseq-map.ts";
import { digest } from "./digest.ts";
import type { Effects } from "./effects.ts";
import { branchFor, departureOf, forwardedRequest, forwardedResponse, isLooped, loopMark, routeMark, serverKey } from "./forward.ts";
import { responseHop } from "./next-hop.ts";
import { tellRefreshed } from "./invite.ts";
import { endPath, passPath, pathOf } from "./path.ts";
import type { Policy } from "./policy.ts";
import { dropRequest, savePath, saveRequest } from "./record.ts";
import { isStranger, refusal } from "./refusal.ts";
import { replyNames, type RouteOutcome, type RouteRun } from "./route-run.ts";
import type { Decision } from "./routing.ts";

/** Methods that make a dialog besides INVITE: we stay in their path. */
const DIALOG_MAKING = new Set(["SUBSCRIBE", "REFER"]);

/** A request other than INVITE, ACK and CANCEL that no transaction matches. */
export function startRequest(call: Call, request: Message, flow: Flow, key: string, nowMs: number, policy: Policy, fx: Effects): void {
  const refused = refusal(request);
  if (refused !== undefined) return reply(call, request, flow, key, refused.status, refused.headers, nowMs, policy, fx);
  const mark = loopMark(request, policy.seed);
  if (isLooped(request, policy.identity, mark)) {
    fx.count("looped");
    return reply(call, request, flow, key, 482, [], nowMs, policy, fx);
  }
  const within = request.toTag !== "";
  if (within && isStranger(call, request, flow, policy)) return reply(call, request, flow, key, 481, [], nowMs, policy, fx);
  if (within ? policy.script?.sequential === true : policy.script?.request === true) return waitFor(call, request, flow, key, policy, fx);
  const decision = within ? FOLLOW : policy.route(request, flow);
  carryOut(call, request, flow, key, { decision, script: "" }, nowMs, policy, fx);
}

/** The way of a request within a dialog: its Route set and Request-URI. */
const FOLLOW: Decision = { kind: "relay", targets: [[]] };

/** Does what a route decided about the request. */
function carryOut(call: Call, request: Message, flow: Flow, key: string, outcome: RouteOutcome, nowMs: number, policy: Policy, fx: Effects): void {
  const decision = outcome.decision ?? (request.toTag === "" ? { kind: "reply", status: 500 } : FOLLOW);
  if (decision.kind === "drop") return;
  if (decision.kind === "reply") return reply(call, request, flow, key, decision.status, decision.headers ?? [], nowMs, policy, fx, decision.reason);
  // RFC 3261 §16.6 lets a proxy fork these too; serial groups need an INVITE's patience, so the first target is taken.
  const target = decision.targets[0]?.[0]?.uri;
  const departure = departureOf(request, target, policy.identity, flow.ingress);
  if (departure === undefined) return reply(call, request, flow, key, 416, [], nowMs, policy, fx);
  const mark = loopMark(request, policy.seed);
  const found = pathOf(call, request);
  const branch = branchFor(key, departure.requestUri, request.method, mark, policy.seed);
  const cseq = found === undefined ? undefined : passPath(call, found.path, found.from, request.cseq.number, fx);
  const rack = request.rack;
  const sent = forwardedRequest(request, {
    identity: policy.identity,
    flow,
    departure,
    branch,
    recordRoute:
      request.toTag === "" && outcome.recordRoute !== false && DIALOG_MAKING.has(request.method) ? routeMark("0", call.callId, policy.seed) : undefined,
    cseq,
    rack: found === undefined || rack === undefined ? undefined : passPath(call, found.path, found.from, rack.cseq, fx),
  });
  const context: RequestContext = {
    key,
    method: request.method,
    flow,
    upstream: responseHop(flow, request.topVia.port, request.topVia.rport !== undefined),
    cseq: request.cseq.number,
    request: request.text,
    branch,
    hop: departure.hop,
    sent,
    dialogId: found?.path.id ?? "",
    from: found?.from,
    stored: isReliable(flow.transport),
    script: outcome.script,
    vars: outcome.vars ?? "",
    armed: outcome.armed ?? {},
    held: undefined,
    server: startServerNonInvite(isReliable(flow.transport)),
    client: startClientNonInvite(isReliable(departure.hop.transport), nowMs),
  };
  call.requests.set(key, context);
  if (context.stored) {
    saveRequest(context, fx);
    fx.live(nowMs + 64 * T1_MS);
    fx.keep(nowMs + 2 * 64 * T1_MS);
  }
  if (found !== undefined && request.method === "BYE") {
    fx.tell({ kind: "bye", id: found.path.id, atMs: nowMs, by: found.from });
    endPath(call, found.path.id, nowMs, fx);
  }
  fx.send(departure.hop, call.callId, branch, request.method, sent);
}

/** Answers ourselves. Kept in memory only: a request that comes again is answered again. */
function reply(
  call: Call,
  request: Message,
  flow: Flow,
  key: string,
  status: number,
  headers: readonly (readonly [string, string])[],
  nowMs: number,
  policy: Policy,
  fx: Effects,
  reason?: string,
): void {
  if (status >= 300) fx.count("rejected");
  const toTag = digest(`tag|${key}`, policy.seed);
  const upstream = responseHop(flow, request.topVia.port, request.topVia.rport !== undefined);
  fx.respond(upstream, call.callId, writeResponse(request, status, { reason, toTag, headers }));
}

/** The request came again. */
export function repeatRequest(call: Call, context: RequestContext, nowMs: number, fx: Effects): void {
  fx.count("requestAbsorbed");
  respond(call, context, { kind: "request" }, nowMs, fx);
}

function respond(call: Call, context: RequestContext, event: ServerNonInviteEvent, nowMs: number, fx: Effects): void {
  const { next, actions } = stepServerNonInvite(context.server, event, nowMs);
  context.server = next;
  for (const action of actions) fx.respond(context.upstream, call.callId, action.message);
}

export function requestResponded(call: Call, context: RequestContext, response: Message, flow: Flow, nowMs: number, policy: Policy, fx: Effects): void {
  // RFC 4320 §4.1: no 1xx but 100 to a non-INVITE, and 100 is hop by hop.
  const finals = response.status >= 200 && context.client.state !== "completed" && context.client.state !== "terminated";
  if (finals && (policy.script?.reply === true || (context.armed.replies?.length ?? 0) > 0)) return holdResponse(call, context, response, flow, policy, fx);
  passOn(call, context, response, forwardedResponse(response, context.cseq), flow, nowMs, fx);
}

function passOn(call: Call, context: RequestContext, response: Message, message: string, flow: Flow, nowMs: number, fx: Effects): void {
  const { next, actions } = stepClientNonInvite(context.client, { kind: "response", status: response.status }, nowMs);
  context.client = next;
  if (actions.length === 0) return fx.count("responseRepeated");
  if (response.status === 100) return;
  respond(call, context, { kind: "respond", status: response.status, message }, nowMs, fx);
  if (context.stored) saveRequest(context, fx);
  if (context.method === "UPDATE" && response.status >= 200 && response.status < 300) refreshed(call, context, response, flow, nowMs, fx);
}

// --- routes of a script ---

function waitFor(call: Call, request: Message, flow: Flow, key: string, policy: Policy, fx: Effects, fault = ""): void {
  const serial = fault === "" ? 1 : 2;
  call.waiting.set(key, { key, flow, request: request.text, serial });
  fx.run({
    callId: call.callId,
    key,
    serial,
    script: policy.script?.version ?? "",
    route: fault === "" ? (request.toTag === "" ? "request" : "sequential") : "error",
    name: "",
    flow,
    request: request.text,
    response: "",
    status: 0,
    targets: [],
    vars: "",
    dialogId: pathOf(call, request)?.path.id ?? "",
    fault,
  });
}

/** What came of the route of a request other than INVITE. */
export function requestRouted(call: Call, waiting: WaitingRequest, run: RouteRun, outcome: RouteOutcome, nowMs: number, policy: Policy, fx: Effects): void {
  if (waiting.serial !== run.serial) return;
  call.waiting.delete(waiting.key);
  fx.count(outcome.failed === undefined ? "routeRan" : "routeFailed");
  const read = readMessage(outcome.text ?? waiting.request);
  if (!read.ok) return;
  const { flow, key } = waiting;
  if (outcome.failed === undefined) return carryOut(call, read.value, flow, key, outcome, nowMs, policy, fx);
  if (policy.script?.error === true && run.route !== "error") return waitFor(call, read.value, flow, key, policy, fx, outcome.failed);
  reply(call, read.value, flow, key, 500, [], nowMs, policy, fx);
}

function holdResponse(call: Call, context: RequestContext, response: Message, flow: Flow, policy: Policy, fx: Effects): void {
  if (context.held !== undefined) return fx.count("responseRepeated");
  context.held = { serial: 3, branch: context.branch, text: response.text, flow };
  fx.run({
    callId: call.callId,
    key: context.key,
    serial: 3,
    script: context.script,
    route: "reply",
    name: replyNames(context.armed, policy),
    flow: context.flow,
    request: context.request,
    response: forwardedResponse(response, context.cseq),
    status: response.status,
    targets: [{ uri: context.sent.slice(context.method.length + 1, context.sent.indexOf(" SIP/2.0")), status: response.status }],
    vars: context.vars,
    dialogId: context.dialogId,
    fault: "",
  });
}

/** What came of the reply route of a request other than INVITE. */
export function responseRouted(call: Call, context: RequestContext, run: RouteRun, outcome: RouteOutcome, nowMs: number, fx: Effects): void {
  const { held } = context;
  if (held === undefined || held.serial !== run.serial) return;
  context.held = undefined;
  fx.count(outcome.failed === undefined ? "routeRan" : "routeFailed");
  const read = readMessage(held.text);
  if (read.ok) passOn(call, context, read.value, outcome.text ?? run.response, held.flow, nowMs, fx);
}

function refreshed(call: Call, context: RequestContext, response: Message, flow: Flow, nowMs: number, fx: Effects): void {
  const read = readStored(context);
  if (read !== undefined) tellRefreshed(call, read, context.flow, response, flow, nowMs, fx);
}

export function requestUndeliverable(call: Call, context: RequestContext, nowMs: number, fx: Effects): void {
  const { next, actions } = stepClientNonInvite(context.client, { kind: "transportError" }, nowMs);
  context.client = next;
  fx.count("undeliverable");
  if (actions.length > 0) giveUp(call, context, 503, nowMs, fx);
}

export function requestTime(call: Call, context: RequestContext, nowMs: number, fx: Effects): void {
  respond(call, context, { kind: "time" }, nowMs, fx);
  const { next, actions } = stepClientNonInvite(context.client, { kind: "time" }, nowMs);
  context.client = next;
  for (const action of actions) {
    if (action.kind === "send") {
      fx.count("requestRepeated");
      fx.send(context.hop, call.callId, context.branch, context.method, context.sent);
    } else if (action.kind === "fail") {
      fx.count("timerF");
      giveUp(call, context, 408, nowMs, fx);
    }
  }
  const serverOver = context.server.state === "terminated" || (context.server.state !== "completed" && context.client.state === "terminated");
  if (!serverOver || (context.client.state !== "terminated" && context.client.state !== "completed")) return;
  call.requests.delete(context.key);
  if (context.stored) dropRequest(context, fx);
}

function giveUp(call: Call, context: RequestContext, status: number, nowMs: number, fx: Effects): void {
  const request = readStored(context);
  if (request === undefined) return;
  respond(call, context, { kind: "respond", status, message: writeResponse(request, status, { toTag: context.key.slice(-8) }) }, nowMs, fx);
  if (context.stored) saveRequest(context, fx);
}

function readStored(context: RequestContext): Message | undefined {
  const read = readMessage(context.request);
  return read.ok ? read.value : undefined;
}

/** An ACK that no INVITE transaction takes: it belongs to a 2xx and goes end to end, without a transaction (RFC 3261 §16.11). */
export function forwardAck(call: Call, ack: Message, flow: Flow, nowMs: number, policy: Policy, fx: Effects): void {
  const found = pathOf(call, ack);
  if (refusal(ack) !== undefined) return fx.count("rejected");
  if (isStranger(call, ack, flow, policy)) return fx.count("ackAbsorbed");
  const departure = departureOf(ack, undefined, policy.identity, flow.ingress);
  if (departure === undefined) return fx.count("rejected");
  const branch = branchFor(serverKey(ack), departure.requestUri, "ACK", loopMark(ack, policy.seed), policy.seed);
  const cseq = found === undefined ? undefined : passPath(call, found.path, found.from, ack.cseq.number, fx);
  if (found !== undefined && !found.path.acknowledged) {
    const path = { ...(call.paths.get(found.path.id) ?? found.path), acknowledged: true };
    call.paths.set(path.id, path);
    savePath(path, fx);
    fx.tell({ kind: "acknowledged", id: path.id, atMs: nowMs });
  }
  fx.count("ackForwarded");
  const sent = forwardedRequest(ack, { identity: policy.identity, flow, departure, branch, recordRoute: undefined, cseq, rack: undefined });
  fx.send(departure.hop, call.callId, "", "ACK", sent);
}

/** A response that no transaction waits for is forwarded by its Via (RFC 3261 §16.7 step 2 and §18.1.2). */
export function forwardStray(call: Call, response: Message, flow: Flow, fx: Effects): void {
  const next = response.vias[1];
  if (next === undefined || response.cseq.method === "CANCEL") return fx.count("responseStray");
  const hop = {
    transport: transportOfVia(next.transport),
    host: next.received ?? next.host,
    port: typeof next.rport === "number" ? next.rport : (next.port ?? 5060),
    ingress: flow.ingress,
    connection: "",
  } as const;
  fx.count("responseStateless");
  fx.respond(hop, call.callId, forwardedResponse(response, originalCseq(call, response)));
}

function transportOfVia(name: string): Flow["transport"] {
  const lower = name.toLowerCase();
  return lower === "tcp" || lower === "tls" || lower === "ws" || lower === "wss" ? lower : "udp";
}

/** The CSeq number with which the request of this response had come. */
function originalCseq(call: Call, response: Message): number {
  const found = pathOf(call, response);
  if (found === undefined) return response.cseq.number;
  return unmapped(found.from === "caller" ? found.path.toCallee : found.path.toCaller, response.cseq.number);
}
