import type { Beginning, LegAddress, LegName, Legs } from "@carillon/dialog";
import { readMessage, writeAck, writeCancel, writeResponse, type Message } from "@carillon/sip";
import {
  startClientInvite,
  startClientNonInvite,
  startServerInvite,
  stepClientInvite,
  stepClientNonInvite,
  stepServerInvite,
  T1_MS,
  type ServerInviteEvent,
} from "@carillon/transaction";
import { isReliable, writeFlow, type Flow } from "@carillon/wire/flow";
import { bestOf } from "./best-response.ts";
import { isOver, NO_MARK, type Call, type DialogPath, type InviteBranch, type InviteContext } from "./call.ts";
import { NO_CSEQ } from "./cseq-map.ts";
import { digest } from "./digest.ts";
import type { Effects } from "./effects.ts";
import { branchFor, departureOf, forwardedRequest, forwardedResponse, isLooped, loopMark, routeMark } from "./forward.ts";
import { responseHop } from "./next-hop.ts";
import { passPath, pathOf } from "./path.ts";
import type { Policy } from "./policy.ts";
import { saveInvite, savePath, dropInvite, dropPath } from "./record.ts";
import { isStranger, refusal } from "./refusal.ts";
import { armedNext, MOST_HELD, replyNames, ROUTE_LIMIT_MS, type Held, type RouteKind, type RouteOutcome, type RouteRun } from "./route-run.ts";
import type { Decision, Target } from "./routing.ts";

/** A finished transaction's record outlives it by this much, milliseconds. */
const RECORD_MARGIN_MS = 10_000;

/** A new INVITE (no transaction matches it). */
export function startInvite(call: Call, request: Message, flow: Flow, key: string, nowMs: number, policy: Policy, fx: Effects): void {
  const context = newContext(call, request, flow, key, nowMs, policy);
  call.invites.set(key, context);
  const refused = refusal(request);
  if (refused !== undefined) return answer(call, context, refused.status, refused.headers, nowMs, fx);
  const mark = loopMark(request, policy.seed);
  if (isLooped(request, policy.identity, mark) || isMerged(call, context, request)) {
    fx.count("looped");
    return answer(call, context, 482, [], nowMs, fx);
  }
  if (context.toTag !== "") {
    if (isStranger(call, request, flow, policy)) return answer(call, context, 481, [], nowMs, fx);
    if (policy.script?.sequential === true) return waitFor(call, context, "sequential", { nowMs, policy, fx });
    relayInvite(call, context, [[]], nowMs, policy, fx);
    return;
  }
  if (policy.script?.request === true) return waitFor(call, context, "request", { nowMs, policy, fx });
  carryOut(call, context, policy.route(request, flow), nowMs, policy, fx);
}

/** Does what a route decided about the request. */
function carryOut(call: Call, context: InviteContext, decision: Decision, nowMs: number, policy: Policy, fx: Effects): void {
  switch (decision.kind) {
    case "reply":
      return answer(call, context, decision.status, decision.headers ?? [], nowMs, fx, decision.reason);
    case "relay":
      context.failover = decision.failover ?? "any";
      return relayInvite(call, context, decision.targets, nowMs, policy, fx);
    case "drop":
      call.invites.delete(context.key);
      if (context.stored) dropInvite(context, fx);
  }
}

function newContext(call: Call, request: Message, flow: Flow, key: string, nowMs: number, policy: Policy): InviteContext {
  const base = `${call.callId}|${request.fromTag}|${request.cseq.number}|${key}`;
  return {
    key,
    flow,
    upstream: responseHop(flow, request.topVia.port, request.topVia.rport !== undefined),
    cseq: request.cseq.number,
    fromTag: request.fromTag,
    requestUri: request.requestUri,
    toTag: request.toTag,
    ownTag: digest(`tag|${base}`, policy.seed),
    dialogId: request.toTag === "" ? `${call.partition.toString(16)}.${digest(`did|${base}`, policy.seed)}` : "",
    startedAtMs: nowMs,
    server: startServerInvite(isReliable(flow.transport)),
    branches: [],
    pending: [],
    failover: "any",
    cancelled: false,
    script: policy.script?.version ?? "",
    vars: "",
    armed: {},
    terms: undefined,
    waiting: undefined,
    runs: 0,
    held: [],
    early: [],
    finalTag: "",
    request: request.text,
    message: request,
    stored: false,
  };
}

/** RFC 3261 §8.2.2.2: the same request came over another way. A spiral has another Request-URI. */
function isMerged(call: Call, context: InviteContext, request: Message): boolean {
  if (context.toTag !== "") return false;
  for (const other of call.invites.values()) {
    if (other !== context && other.fromTag === context.fromTag && other.cseq === context.cseq && other.toTag === "" && other.requestUri === request.requestUri)
      return true;
  }
  return false;
}

/** Tries the groups of targets one after another. An empty group stands for the Request-URI as it is (within a dialog). */
function relayInvite(call: Call, context: InviteContext, groups: readonly (readonly Target[])[], nowMs: number, policy: Policy, fx: Effects): void {
  const [group, ...rest] = groups;
  context.pending = rest;
  if (group === undefined) return answer(call, context, 480, [], nowMs, fx);
  const name = context.armed.branch;
  if (name !== undefined && group.length > 0) return waitFor(call, context, "branch", { nowMs, policy, fx, name, group });
  sendGroup(call, context, group, [], nowMs, policy, fx);
}

/** Sends the INVITE to all targets of a group. `texts`: what a branch route made of it for each; null: it shall not leave there. */
function sendGroup(
  call: Call,
  context: InviteContext,
  group: readonly Target[],
  texts: readonly (string | null | undefined)[],
  nowMs: number,
  policy: Policy,
  fx: Effects,
): void {
  const first = context.branches.length === 0;
  const request = messageOf(context);
  if (request === undefined) return;
  const sending: InviteBranch[] = [];
  for (const [at, target] of group.length === 0 ? [[0, undefined] as const] : group.entries()) {
    const text = texts[at];
    const read = text === undefined || text === null ? undefined : readMessage(text);
    const branch = text === null ? undefined : newBranch(call, context, read?.ok === true ? read.value : request, target, read?.ok === true, nowMs, policy, fx);
    if (branch === undefined) continue;
    context.branches.push(branch);
    sending.push(branch);
  }
  if (sending.length === 0) {
    if (context.pending.length > 0) return relayInvite(call, context, context.pending, nowMs, policy, fx);
    return first ? answer(call, context, texts.includes(null) ? 480 : 416, [], nowMs, fx) : decide(call, context, nowMs, fx);
  }
  trying(call, context, request, nowMs, fx);
  for (const branch of sending) fx.send(branch.hop, call.callId, branch.id, "INVITE", branch.sent);
  keep(context, nowMs, policy, fx);
}

/** 100, unless something was said before. */
function trying(call: Call, context: InviteContext, request: Message, nowMs: number, fx: Effects): void {
  if (context.server.state === "proceeding" && context.server.last === undefined)
    respond(call, context, { kind: "respond", status: 100, message: writeResponse(request, 100) }, nowMs, fx);
}

/** Stores the transaction with its messages. */
function keep(context: InviteContext, nowMs: number, policy: Policy, fx: Effects): void {
  const liveUntilMs = nowMs + policy.timerCMs + 3 * 64 * T1_MS;
  fx.live(liveUntilMs);
  fx.keep(liveUntilMs + RECORD_MARGIN_MS);
  saveInvite(context, fx, true);
}

function newBranch(
  call: Call,
  context: InviteContext,
  request: Message,
  target: Target | undefined,
  routed: boolean,
  nowMs: number,
  policy: Policy,
  fx: Effects,
): InviteBranch | undefined {
  const departure = departureOf(request, routed ? request.requestUri : target?.uri, policy.identity, context.flow.ingress);
  if (departure === undefined) return undefined;
  const id = branchFor(context.key, `${departure.requestUri}|${context.branches.length}`, "INVITE", loopMark(request, policy.seed), policy.seed);
  const found = pathOf(call, request);
  const sent = forwardedRequest(request, {
    identity: policy.identity,
    flow: context.flow,
    departure,
    branch: id,
    recordRoute: context.dialogId === "" ? undefined : routeMark(context.dialogId, call.callId, policy.seed),
    cseq: found === undefined ? undefined : passPath(call, found.path, found.from, request.cseq.number, fx),
    rack: undefined,
  });
  return {
    id,
    target: departure.requestUri,
    hop: departure.hop,
    sent,
    client: startClientInvite(isReliable(departure.hop.transport), nowMs),
    timerCAtMs: nowMs + policy.timerCMs,
    limitAtMs: target?.limitMs === undefined ? Infinity : nowMs + target.limitMs,
    cancel: "no",
    cancelling: undefined,
    status: 0,
    response: "",
  };
}

/** Answers the INVITE ourselves. Needs no record: should this pod die, the caller's next INVITE is answered again. */
function answer(
  call: Call,
  context: InviteContext,
  status: number,
  headers: readonly (readonly [string, string])[],
  nowMs: number,
  fx: Effects,
  reason?: string,
): void {
  const request = messageOf(context);
  if (request === undefined) return;
  fx.count("rejected");
  const message = writeResponse(request, status, { reason, toTag: context.ownTag, headers });
  context.finalTag = context.toTag === "" ? context.ownTag : context.toTag;
  respond(call, context, { kind: "respond", status, message }, nowMs, fx);
  if (context.stored) {
    saveInvite(context, fx, false);
    finishEarly(call, context, undefined, status, nowMs, fx);
  }
}

/** Gives the server transaction an event and does what it says. */
function respond(call: Call, context: InviteContext, event: ServerInviteEvent, nowMs: number, fx: Effects): void {
  const { next, actions } = stepServerInvite(context.server, event, nowMs);
  context.server = next;
  for (const action of actions) {
    switch (action.kind) {
      case "send":
        fx.respond(context.upstream, call.callId, action.message);
        break;
      case "fail":
        fx.count("timerH");
        break;
      case "deliverAck":
        break;
    }
  }
}

/** The INVITE came again. */
export function repeatInvite(call: Call, context: InviteContext, nowMs: number, fx: Effects): void {
  fx.count("requestAbsorbed");
  respond(call, context, { kind: "invite" }, nowMs, fx);
}

/** An ACK that belongs to this transaction: true if it ends here (RFC 3261 §17.2.1), false if it is for a 2xx and goes on. */
export function ackInvite(call: Call, context: InviteContext, nowMs: number, fx: Effects): boolean {
  if (context.server.state !== "completed" && context.server.state !== "confirmed") return false;
  fx.count("ackAbsorbed");
  respond(call, context, { kind: "ack" }, nowMs, fx);
  if (context.stored) saveInvite(context, fx, false);
  return true;
}

/** RFC 3261 §16.10: CANCEL goes to every branch without a final response, at once or when its first provisional response is there (§9.1). */
export function cancelInvite(call: Call, context: InviteContext, nowMs: number, fx: Effects): void {
  if (context.server.state !== "proceeding" || context.cancelled) return;
  context.cancelled = true;
  context.pending = [];
  fx.count("cancelled");
  cancelBranches(call, context, undefined, nowMs, fx);
  if (context.waiting !== undefined && context.branches.every((one) => one.status !== 0)) {
    // What the route still says comes too late: nothing has left, or all of it has failed.
    context.waiting = undefined;
    return answer(call, context, 487, [], nowMs, fx);
  }
  saveInvite(context, fx, false);
}

function cancelBranches(call: Call, context: InviteContext, except: InviteBranch | undefined, nowMs: number, fx: Effects): void {
  for (const branch of context.branches) {
    if (branch === except || branch.status !== 0 || branch.cancel !== "no") continue;
    if (branch.client.state === "proceeding") sendCancel(call, branch, nowMs, fx);
    else branch.cancel = "wanted";
  }
}

function sendCancel(call: Call, branch: InviteBranch, nowMs: number, fx: Effects): void {
  branch.cancel = "sent";
  branch.cancelling = startClientNonInvite(isReliable(branch.hop.transport), nowMs);
  // RFC 3261 §9.1: a branch that does not answer in 64·T1 after its CANCEL is taken as cancelled.
  branch.timerCAtMs = nowMs + 64 * T1_MS;
  const invite = readMessage(branch.sent);
  if (invite.ok) fx.send(branch.hop, call.callId, branch.id, "CANCEL", writeCancel(invite.value));
}

/** A response on one of the branches. `response` still carries our Via. */
export function branchResponded(
  call: Call,
  context: InviteContext,
  branch: InviteBranch,
  response: Message,
  flow: Flow,
  nowMs: number,
  policy: Policy,
  fx: Effects,
): void {
  const { status } = response;
  if (response.cseq.method === "CANCEL") {
    if (branch.cancelling !== undefined) branch.cancelling = stepClientNonInvite(branch.cancelling, { kind: "response", status }, nowMs).next;
    return;
  }
  if (status > 100 && replyRoutes(context, policy) && branch.client.state !== "completed") return hold(call, context, branch, response, flow, policy, fx);
  passOn(call, context, branch, response, forwardedResponse(response, context.cseq), flow, nowMs, policy, fx);
}

/** Takes a response: `message` is what goes upstream of it; empty: nothing does. */
function passOn(
  call: Call,
  context: InviteContext,
  branch: InviteBranch,
  response: Message,
  message: string,
  flow: Flow,
  nowMs: number,
  policy: Policy,
  fx: Effects,
): void {
  const { status } = response;
  const before = branch.client.state;
  const { next, actions } = stepClientInvite(branch.client, { kind: "response", status }, nowMs);
  branch.client = next;
  let passes = false;
  for (const action of actions) {
    if (action.kind === "ack") sendAck(call, branch, response, fx);
    if (action.kind === "deliver") passes = true;
  }
  if (!passes) {
    // RFC 3261 §16.7 step 5: a 2xx is always forwarded, even where our side of the transaction is through.
    if (status >= 200 && status < 300) fx.respond(context.upstream, call.callId, message);
    else fx.count("responseRepeated");
    return;
  }
  if (status < 200) provisional(call, context, branch, response, message, before === "calling", flow, nowMs, policy, fx);
  else if (status < 300) succeeded(call, context, branch, response, message, flow, nowMs, policy, fx);
  else failed(call, context, branch, status, message, nowMs, policy, fx);
}

function sendAck(call: Call, branch: InviteBranch, response: Message, fx: Effects): void {
  const invite = readMessage(branch.sent);
  if (invite.ok) fx.send(branch.hop, call.callId, branch.id, "ACK", writeAck(invite.value, response));
}

function provisional(
  call: Call,
  context: InviteContext,
  branch: InviteBranch,
  response: Message,
  message: string,
  first: boolean,
  flow: Flow,
  nowMs: number,
  policy: Policy,
  fx: Effects,
): void {
  if (response.status > 100 && branch.cancel !== "sent") branch.timerCAtMs = nowMs + policy.timerCMs;
  let changed = first;
  if (branch.cancel === "wanted") {
    sendCancel(call, branch, nowMs, fx);
    changed = true;
  }
  if (response.status > 100 && message !== "" && branch.status === 0 && context.server.state === "proceeding") {
    if (context.dialogId !== "" && response.toTag !== "" && !context.cancelled && knowEarly(call, context, branch, response, flow, nowMs, fx)) changed = true;
    respond(call, context, { kind: "respond", status: response.status, message }, nowMs, fx);
  }
  if (changed) saveInvite(context, fx, false);
}

/** Learns of an early dialog; false if it was known. */
function knowEarly(call: Call, context: InviteContext, branch: InviteBranch, response: Message, flow: Flow, nowMs: number, fx: Effects): boolean {
  const tag = response.toTag;
  if (context.early.some((one) => one.tag === tag)) return false;
  const id = openPath(call, context, branch, tag, fx);
  const request = messageOf(context);
  if (request !== undefined) fx.tell({ kind: "early", ...beginning(call, context, id, request, response, flow, nowMs) });
  return true;
}

/** The dialog of this To tag gets an id and a path; the first one of an INVITE has the id that Record-Route names. */
function openPath(call: Call, context: InviteContext, branch: InviteBranch, tag: string, fx: Effects): string {
  const id = context.early.length === 0 ? context.dialogId : `${context.dialogId}-${context.early.length}`;
  context.early.push({ tag, id, branch: branch.id });
  const path: DialogPath = {
    id,
    callerTag: context.fromTag,
    calleeTag: tag,
    toCaller: NO_CSEQ,
    toCallee: { last: context.cseq, steps: [] },
    acknowledged: false,
    over: false,
    caller: NO_MARK,
    callee: NO_MARK,
  };
  call.paths.set(id, path);
  savePath(path, fx);
  return id;
}

function succeeded(
  call: Call,
  context: InviteContext,
  branch: InviteBranch,
  response: Message,
  message: string,
  flow: Flow,
  nowMs: number,
  policy: Policy,
  fx: Effects,
): void {
  // A branch that was given up may answer all the same.
  const again = branch.status >= 200 && branch.status < 300;
  branch.status = response.status;
  branch.timerCAtMs = Infinity;
  branch.limitAtMs = Infinity;
  context.pending = [];
  context.waiting = undefined;
  let changed = !again;
  if (context.dialogId === "") {
    if (!again) refreshTargets(call, context, response, flow, nowMs, fx);
  } else if (confirm(call, context, branch, response, flow, nowMs, policy, fx)) changed = true;
  if (!again) {
    cancelBranches(call, context, branch, nowMs, fx);
    branch.sent = "";
  }
  if (context.server.state === "proceeding" || context.server.state === "accepted")
    respond(call, context, { kind: "respond", status: response.status, message }, nowMs, fx);
  else fx.respond(context.upstream, call.callId, message);
  if (context.branches.every((one) => one.status !== 0)) {
    context.request = "";
    context.message = undefined;
  }
  if (changed) saveInvite(context, fx, false);
}

/** The dialog of this 2xx is confirmed; false if it was before. */
function confirm(call: Call, context: InviteContext, branch: InviteBranch, response: Message, flow: Flow, nowMs: number, policy: Policy, fx: Effects): boolean {
  const tag = response.toTag;
  const known = context.early.find((one) => one.tag === tag);
  if (known?.branch === "confirmed") return false;
  const id = known?.id ?? openPath(call, context, branch, tag, fx);
  context.early = context.early.map((one) => (one.tag === tag ? { ...one, branch: "confirmed" } : one));
  const request = messageOf(context);
  if (request !== undefined) fx.tell({ kind: "confirmed", ...beginning(call, context, id, request, response, flow, nowMs) });
  fx.keep(nowMs + policy.dialogKeepMs);
  return true;
}

/** A branch has failed: with a response of 300 or more, a timeout, or no way to send. `message` is what would go upstream; empty: we make it. */
function failed(call: Call, context: InviteContext, branch: InviteBranch, status: number, message: string, nowMs: number, policy: Policy, fx: Effects): void {
  if (branch.status !== 0) return;
  branch.status = status;
  branch.response = message;
  branch.timerCAtMs = Infinity;
  branch.limitAtMs = Infinity;
  if (context.failover === "unavailable" && status !== 408 && (status < 500 || status >= 600)) context.pending = [];
  if (status >= 600) {
    // RFC 3261 §16.7 step 5: nobody else is asked any more.
    context.pending = [];
    cancelBranches(call, context, branch, nowMs, fx);
  }
  if (context.server.state === "proceeding" && context.waiting === undefined && context.branches.every((one) => one.status !== 0)) {
    if (context.cancelled) return decide(call, context, nowMs, fx);
    if (context.pending.length > 0) return relayInvite(call, context, context.pending, nowMs, policy, fx);
    const name = context.armed.failure;
    if (name === undefined) return decide(call, context, nowMs, fx);
    context.armed = { ...context.armed, failure: undefined };
    finishEarly(call, context, branch, status, nowMs, fx);
    return waitFor(call, context, "failure", { nowMs, policy, fx, name });
  }
  finishEarly(call, context, branch, status, nowMs, fx);
  saveInvite(context, fx, false);
}

/** All branches have failed: the best response goes upstream. */
function decide(call: Call, context: InviteContext, nowMs: number, fx: Effects): void {
  const best = bestOf(
    context.branches.filter((one) => one.status >= 300),
    context.cancelled,
  );
  const request = messageOf(context);
  if (request === undefined) return;
  let status = best?.status ?? 408;
  let message = best?.response ?? "";
  if (context.cancelled && message === "") status = 487;
  // RFC 3261 §16.7 step 6: a 503 says something about the next hop, not about us.
  if (status === 503) [status, message] = [500, ""];
  if (message === "") message = writeResponse(request, status, { toTag: context.ownTag });
  const read = readMessage(message);
  context.finalTag = read.ok ? read.value.toTag : context.ownTag;
  respond(call, context, { kind: "respond", status, message }, nowMs, fx);
  finishEarly(call, context, undefined, status, nowMs, fx);
  saveInvite(context, fx, false);
}

/** Early dialogs of a branch (of all, where none is given) that were not confirmed have failed. */
function finishEarly(call: Call, context: InviteContext, branch: InviteBranch | undefined, status: number, nowMs: number, fx: Effects): void {
  for (const { id, branch: by } of context.early) {
    if (by === "confirmed" || !call.paths.has(id) || (branch !== undefined && by !== branch.id)) continue;
    call.paths.delete(id);
    dropPath(id, fx);
    fx.tell({ kind: "failed", id, atMs: nowMs, status, cancelled: context.cancelled });
  }
}

/** RFC 3261 §12.2: a 2xx to a re-INVITE or UPDATE makes both Contacts the new remote targets. */
function refreshTargets(call: Call, context: InviteContext, response: Message, flow: Flow, nowMs: number, fx: Effects): void {
  const request = messageOf(context);
  if (request !== undefined) tellRefreshed(call, request, context.flow, response, flow, nowMs, fx);
}

export function tellRefreshed(call: Call, request: Message, requestFlow: Flow, response: Message, responseFlow: Flow, nowMs: number, fx: Effects): void {
  const found = pathOf(call, request);
  if (found === undefined) return;
  const to: LegName = found.from === "caller" ? "callee" : "caller";
  const asked = request.contact?.uri;
  const answered = response.contact?.uri;
  if (asked !== undefined) fx.tell({ kind: "refreshed", id: found.path.id, atMs: nowMs, leg: found.from, contact: asked, flow: writeFlow(requestFlow) });
  if (answered !== undefined) fx.tell({ kind: "refreshed", id: found.path.id, atMs: nowMs, leg: to, contact: answered, flow: writeFlow(responseFlow) });
}

/** An INVITE could not be sent to this branch: RFC 3261 §16.9 takes it as a 503. */
export function branchUndeliverable(call: Call, context: InviteContext, branch: InviteBranch, nowMs: number, policy: Policy, fx: Effects): void {
  const { next, actions } = stepClientInvite(branch.client, { kind: "transportError" }, nowMs);
  branch.client = next;
  fx.count("undeliverable");
  if (actions.length > 0) failed(call, context, branch, 503, "", nowMs, policy, fx);
}

/** Whatever is due in this transaction. */
export function inviteTime(call: Call, context: InviteContext, nowMs: number, policy: Policy, fx: Effects): void {
  respond(call, context, { kind: "time" }, nowMs, fx);
  if (context.waiting !== undefined && nowMs >= context.waiting.untilAtMs) giveUpRoute(call, context, nowMs, fx);
  for (const branch of context.branches) branchTime(call, context, branch, nowMs, policy, fx);
  if (!isThrough(context)) return;
  finishEarly(call, context, undefined, 408, nowMs, fx);
  call.invites.delete(context.key);
  // A record that expires soon anyway is left as it is.
  if (context.stored && !(call.paths.size > 0 && isOver(call))) dropInvite(context, fx);
}

function branchTime(call: Call, context: InviteContext, branch: InviteBranch, nowMs: number, policy: Policy, fx: Effects): void {
  const { next, actions } = stepClientInvite(branch.client, { kind: "time" }, nowMs);
  branch.client = next;
  for (const action of actions) {
    if (action.kind === "send" && branch.status === 0) {
      fx.count("requestRepeated");
      fx.send(branch.hop, call.callId, branch.id, "INVITE", branch.sent);
    } else if (action.kind === "fail") {
      fx.count("timerB");
      failed(call, context, branch, 408, "", nowMs, policy, fx);
    }
  }
  if (branch.cancelling !== undefined) {
    const cancelling = stepClientNonInvite(branch.cancelling, { kind: "time" }, nowMs);
    branch.cancelling = cancelling.next.state === "terminated" ? undefined : cancelling.next;
    const invite = cancelling.actions.some((action) => action.kind === "send") ? readMessage(branch.sent) : undefined;
    if (invite?.ok === true) {
      fx.count("requestRepeated");
      fx.send(branch.hop, call.callId, branch.id, "CANCEL", writeCancel(invite.value));
    }
  }
  if (branch.status === 0 && nowMs >= Math.min(branch.timerCAtMs, branch.limitAtMs)) {
    fx.count(nowMs >= branch.timerCAtMs ? "timerC" : "branchLimit");
    // RFC 3261 §9.1: what has said nothing yet is cancelled when it does.
    if (branch.cancel === "no" && branch.client.state === "proceeding") sendCancel(call, branch, nowMs, fx);
    else if (branch.cancel === "no") branch.cancel = "wanted";
    failed(call, context, branch, branch.cancel === "sent" && context.cancelled ? 487 : 408, "", nowMs, policy, fx);
  }
}

/** Nothing more can come of it: the server side is through, and each branch has ended or was given up. */
function isThrough(context: InviteContext): boolean {
  if (context.server.state !== "terminated") return false;
  return context.branches.every(
    (branch) => branch.client.state === "terminated" || branch.client.state === "accepted" || (branch.status !== 0 && branch.cancelling === undefined),
  );
}

// --- routes of a script ---

interface WaitOptions {
  readonly nowMs: number;
  readonly policy: Policy;
  readonly fx: Effects;
  readonly name?: string | undefined;
  readonly group?: readonly Target[] | undefined;
  readonly fault?: string | undefined;
}

/** The transaction waits for a route. It is stored first, so that the route runs again if this owner does not live to hear what came of it. */
function waitFor(call: Call, context: InviteContext, route: RouteKind, options: WaitOptions): void {
  const { nowMs, policy, fx, name = "", group = [], fault = "" } = options;
  const request = messageOf(context);
  if (request === undefined) return;
  context.runs++;
  context.waiting = { route, name, serial: context.runs, group, fault, untilAtMs: nowMs + ROUTE_LIMIT_MS };
  trying(call, context, request, nowMs, fx);
  fx.run(runOf(call, context));
  keep(context, nowMs, policy, fx);
}

function runOf(call: Call, context: InviteContext): RouteRun {
  const { waiting } = context;
  const best = bestOf(
    context.branches.filter((one) => one.status >= 300),
    false,
  );
  const targets =
    waiting?.route === "branch"
      ? waiting.group.map(({ uri }) => ({ uri, status: 0 }))
      : context.branches.map(({ target, status }) => ({ uri: target, status }));
  return {
    callId: call.callId,
    key: context.key,
    serial: waiting?.serial ?? 0,
    script: context.script,
    route: waiting?.route ?? "request",
    name: waiting?.name ?? "",
    flow: context.flow,
    request: context.request,
    response: best?.response ?? "",
    status: best?.status ?? 0,
    targets,
    vars: context.vars,
    dialogId: context.dialogId,
    fault: waiting?.fault ?? "",
  };
}

/** Another owner was at it: the route that it did not live to hear of runs again. */
export function resumeInvite(call: Call, context: InviteContext, fx: Effects): void {
  if (context.waiting !== undefined) fx.run(runOf(call, context));
}

function giveUpRoute(call: Call, context: InviteContext, nowMs: number, fx: Effects): void {
  context.waiting = undefined;
  fx.count("routeFailed");
  answer(call, context, 500, [], nowMs, fx);
}

/** What came of a route of this transaction. What nobody waits for any more is left. */
export function inviteRouted(call: Call, context: InviteContext, run: RouteRun, outcome: RouteOutcome, nowMs: number, policy: Policy, fx: Effects): void {
  if (run.route === "reply") return replied(call, context, run, outcome, nowMs, policy, fx);
  const { waiting } = context;
  if (waiting === undefined || waiting.serial !== run.serial) return;
  context.waiting = undefined;
  fx.count(outcome.failed === undefined ? "routeRan" : "routeFailed");
  if (outcome.failed !== undefined) {
    if (policy.script?.error === true && run.route !== "error") return waitFor(call, context, "error", { nowMs, policy, fx, fault: outcome.failed });
    return answer(call, context, 500, [], nowMs, fx);
  }
  context.script = outcome.script;
  learn(context, run, outcome);
  const { decision } = outcome;
  switch (waiting.route) {
    case "branch":
      return sendGroup(call, context, waiting.group, outcome.branches ?? [], nowMs, policy, fx);
    case "failure":
      return decision === undefined || decision.kind === "drop" ? decide(call, context, nowMs, fx) : carryOut(call, context, decision, nowMs, policy, fx);
    case "sequential":
      return carryOut(call, context, decision ?? { kind: "relay", targets: [[]] }, nowMs, policy, fx);
    case "request":
    case "error":
      return carryOut(call, context, decision ?? { kind: "reply", status: 500 }, nowMs, policy, fx);
    case "reply":
    case "local":
      return undefined;
  }
}

/** What a route leaves behind for those after it. */
function learn(context: InviteContext, run: RouteRun, outcome: RouteOutcome): void {
  context.vars = outcome.vars ?? context.vars;
  context.armed = armedNext(context.armed, outcome.armed);
  context.terms = outcome.terms ?? context.terms;
  if (outcome.recordRoute === false) context.dialogId = "";
  if (outcome.text !== undefined && run.route !== "branch") {
    context.request = outcome.text;
    context.message = undefined;
  }
}

const replyRoutes = (context: InviteContext, policy: Policy): boolean => policy.script?.reply === true || (context.armed.replies?.length ?? 0) > 0;

/** A response waits for the reply routes, in order with those before it. */
function hold(call: Call, context: InviteContext, branch: InviteBranch, response: Message, flow: Flow, policy: Policy, fx: Effects): void {
  if (context.held.some((one) => one.branch === branch.id && one.text === response.text)) return fx.count("responseRepeated");
  if (context.held.length >= MOST_HELD) return fx.count("responseStray");
  context.runs++;
  const held: Held = { serial: context.runs, branch: branch.id, text: response.text, flow };
  context.held = [...context.held, held];
  if (context.held.length === 1) runReply(call, context, held, policy, fx);
}

function runReply(call: Call, context: InviteContext, held: Held, policy: Policy, fx: Effects): void {
  const read = readMessage(held.text);
  const branch = context.branches.find((one) => one.id === held.branch);
  if (!read.ok || branch === undefined) return;
  const run = runOf(call, context);
  const message = forwardedResponse(read.value, context.cseq);
  const targets = [{ uri: branch.target, status: read.value.status }];
  const name = replyNames(context.armed, policy);
  fx.run({ ...run, serial: held.serial, route: "reply", name, response: message, status: read.value.status, targets });
}

function replied(call: Call, context: InviteContext, run: RouteRun, outcome: RouteOutcome, nowMs: number, policy: Policy, fx: Effects): void {
  const [held, ...rest] = context.held;
  if (held === undefined || held.serial !== run.serial) return;
  context.held = rest;
  fx.count(outcome.failed === undefined ? "routeRan" : "routeFailed");
  const branch = context.branches.find((one) => one.id === held.branch);
  const read = readMessage(held.text);
  if (branch !== undefined && read.ok) {
    const response = read.value;
    if (outcome.vars !== undefined) context.vars = outcome.vars;
    const dropped = outcome.decision?.kind === "drop" && response.status < 200;
    passOn(call, context, branch, response, dropped ? "" : (outcome.text ?? run.response), held.flow, nowMs, policy, fx);
    if (outcome.cancelBranches === true) {
      context.pending = [];
      cancelBranches(call, context, branch, nowMs, fx);
    }
    if ((outcome.vars !== undefined || outcome.cancelBranches === true) && context.stored) saveInvite(context, fx, false);
  }
  const [next] = rest;
  if (next !== undefined) runReply(call, context, next, policy, fx);
}

/** The INVITE of a context, read; undefined once it was let go. */
export function messageOf(context: InviteContext): Message | undefined {
  if (context.message === undefined && context.request !== "") {
    const read = readMessage(context.request);
    if (read.ok) context.message = read.value;
  }
  return context.message;
}

function beginning(call: Call, context: InviteContext, id: string, request: Message, response: Message, flow: Flow, nowMs: number): Beginning {
  const legs = legsOf(request, context.flow, response, flow);
  const { replaces } = request;
  return {
    id,
    callId: call.callId,
    atMs: nowMs,
    legs,
    terms: context.terms,
    replaces: replaces === undefined ? undefined : { callId: replaces.callId, toTag: replaces.toTag, fromTag: replaces.fromTag },
  };
}

/** What both legs are, from an initial INVITE as it came and a response to it (RFC 3261 §12.1): each leg's route set is its own side's part of Record-Route. */
function legsOf(request: Message, requestFlow: Flow, response: Message, responseFlow: Flow): Legs {
  const upstream = request.recordRoutes.map((route) => route.text);
  const all = response.recordRoutes.map((route) => route.text);
  // Above the values that came with the INVITE stand ours (one or two), above those the ones of the proxies behind us.
  const ours = all.length - upstream.length;
  const downstream: string[] = [];
  for (let at = 0; at < ours; at++) {
    const route = response.recordRoutes[at];
    if (route === undefined || route.params.has("did") || route.uri.includes(";did=")) break;
    downstream.push(route.text);
  }
  const caller: LegAddress = {
    address: request.from.text,
    tag: request.fromTag,
    contact: request.contact?.uri ?? request.from.uri,
    routeSet: upstream,
    flow: writeFlow(requestFlow),
  };
  const callee: LegAddress = {
    address: response.to.text,
    tag: response.toTag,
    contact: response.contact?.uri ?? request.requestUri,
    routeSet: downstream.toReversed(),
    flow: writeFlow(responseFlow),
  };
  return { caller, callee };
}
