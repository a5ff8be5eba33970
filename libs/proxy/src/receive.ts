import type { CallCommand } from "@carillon/dialog";
import { writeResponse, type Message } from "@carillon/sip";
import { clientInviteDueAtMs, clientNonInviteDueAtMs, serverInviteDueAtMs, serverNonInviteDueAtMs } from "@carillon/transaction";
import type { Flow } from "@carillon/wire/flow";
import type { Call, InviteBranch, InviteContext } from "./call.ts";
import { digest } from "./digest.ts";
import type { Effects } from "./effects.ts";
import { serverKey } from "./forward.ts";
import { isOurs } from "./identity.ts";
import { ackInvite, branchResponded, branchUndeliverable, cancelInvite, inviteRouted, inviteTime, repeatInvite, resumeInvite, startInvite } from "./invite.ts";
import { responseHop } from "./next-hop.ts";
import { ownResponded, ownRouted, ownTime, ownUndeliverable, resumeOwn, startOwn } from "./own.ts";
import {
  forwardAck,
  forwardStray,
  repeatRequest,
  requestResponded,
  requestRouted,
  requestTime,
  requestUndeliverable,
  responseRouted,
  startRequest,
} from "./passing.ts";
import type { Policy } from "./policy.ts";
import type { RouteOutcome, RouteRun } from "./route-run.ts";

/** A message for this call has come over `flow`. Never throws for what the message holds. */
export function receive(call: Call, message: Message, flow: Flow, nowMs: number, policy: Policy, fx: Effects): void {
  if (message.isRequest) receiveRequest(call, message, flow, nowMs, policy, fx);
  else receiveResponse(call, message, flow, nowMs, policy, fx);
}

function receiveRequest(call: Call, request: Message, flow: Flow, nowMs: number, policy: Policy, fx: Effects): void {
  const key = serverKey(request);
  switch (request.method) {
    case "INVITE": {
      const context = call.invites.get(key);
      if (context !== undefined) repeatInvite(call, context, nowMs, fx);
      else startInvite(call, request, flow, key, nowMs, policy, fx);
      return;
    }
    case "ACK": {
      const context = call.invites.get(key) ?? failedInvite(call, request);
      if (context === undefined || !ackInvite(call, context, nowMs, fx)) forwardAck(call, request, flow, nowMs, policy, fx);
      return;
    }
    case "CANCEL": {
      const context = call.invites.get(key);
      const toTag = context?.ownTag ?? digest(`tag|${key}`, policy.seed);
      const upstream = responseHop(flow, request.topVia.port, request.topVia.rport !== undefined);
      // RFC 3261 §9.2: 200 whatever comes of it, in whatever state the INVITE is.
      fx.respond(upstream, call.callId, writeResponse(request, context === undefined ? 481 : 200, { toTag }));
      if (context !== undefined) cancelInvite(call, context, nowMs, fx);
      return;
    }
    default: {
      const keyed = `${key}|${request.method}`;
      const context = call.requests.get(keyed);
      if (call.waiting.has(keyed)) fx.count("requestAbsorbed");
      else if (context !== undefined) repeatRequest(call, context, nowMs, fx);
      else startRequest(call, request, flow, keyed, nowMs, policy, fx);
    }
  }
}

/** Some phones send the ACK of a failed INVITE with a branch of its own: CSeq and both tags tell whose it is. */
function failedInvite(call: Call, ack: Message): InviteContext | undefined {
  for (const context of call.invites.values()) {
    if (context.finalTag !== "" && context.finalTag === ack.toTag && context.cseq === ack.cseq.number && context.fromTag === ack.fromTag) return context;
  }
  return undefined;
}

function receiveResponse(call: Call, response: Message, flow: Flow, nowMs: number, policy: Policy, fx: Effects): void {
  const via = response.topVia;
  // RFC 3261 §16.7 step 1: a response whose top Via is not ours is not for us.
  if (!isOurs(policy.identity, via.host, via.port)) return fx.count("responseStray");
  const found = inviteBranch(call, via.branch);
  if (found !== undefined) return branchResponded(call, found.context, found.branch, response, flow, nowMs, policy, fx);
  const own = call.own.get(via.branch);
  if (own !== undefined) return ownResponded(call, own, response, nowMs, fx);
  for (const context of call.requests.values()) {
    if (context.branch === via.branch && context.method === response.cseq.method) return requestResponded(call, context, response, flow, nowMs, policy, fx);
  }
  forwardStray(call, response, flow, fx);
}

function inviteBranch(call: Call, id: string): { readonly context: InviteContext; readonly branch: InviteBranch } | undefined {
  for (const context of call.invites.values()) {
    for (const branch of context.branches) if (branch.id === id) return { context, branch };
  }
  return undefined;
}

/** An ingress could not send a request of this call. */
export function undeliverable(call: Call, branch: string, method: string, nowMs: number, policy: Policy, fx: Effects): void {
  const found = inviteBranch(call, branch);
  if (found !== undefined && method === "INVITE") return branchUndeliverable(call, found.context, found.branch, nowMs, policy, fx);
  const own = call.own.get(branch);
  if (own !== undefined) return ownUndeliverable(call, own, nowMs, fx);
  for (const context of call.requests.values()) if (context.branch === branch) return requestUndeliverable(call, context, nowMs, fx);
}

/** The dialog service wants something done. */
export function obey(call: Call, command: CallCommand, nowMs: number, policy: Policy, fx: Effects): void {
  switch (command.kind) {
    case "request":
      startOwn(call, command, nowMs, policy, fx);
      return;
    case "cancel":
      for (const context of call.invites.values()) if (context.early.some(({ id }) => id === command.id)) cancelInvite(call, context, nowMs, fx);
  }
}

/** What came of a route that `Effects` asked to run. A call that has gone on meanwhile takes no notice. */
export function routed(call: Call, run: RouteRun, outcome: RouteOutcome, nowMs: number, policy: Policy, fx: Effects): void {
  const { key } = run;
  const invite = call.invites.get(key);
  if (invite !== undefined) return inviteRouted(call, invite, run, outcome, nowMs, policy, fx);
  const waiting = call.waiting.get(key);
  if (waiting !== undefined) return requestRouted(call, waiting, run, outcome, nowMs, policy, fx);
  const request = call.requests.get(key);
  if (request !== undefined) return responseRouted(call, request, run, outcome, nowMs, fx);
  const own = call.own.get(key);
  if (own !== undefined) ownRouted(call, own, outcome, fx);
}

/** Whether the call waits for routes that a former owner may not have lived to hear of: then `resume` is due. */
export function waits(call: Call): boolean {
  for (const context of call.invites.values()) if (context.waiting !== undefined) return true;
  for (const own of call.own.values()) if (own.waiting) return true;
  return false;
}

/** Runs the routes again that the call waits for. */
export function resume(call: Call, fx: Effects): void {
  for (const context of call.invites.values()) resumeInvite(call, context, fx);
  for (const own of call.own.values()) resumeOwn(call, own, fx);
}

/** Does whatever is due. A call too early or too often is harmless. */
export function time(call: Call, nowMs: number, policy: Policy, fx: Effects): void {
  for (const context of call.invites.values()) inviteTime(call, context, nowMs, policy, fx);
  for (const context of call.requests.values()) requestTime(call, context, nowMs, fx);
  for (const own of call.own.values()) ownTime(call, own, nowMs, fx);
}

/** When `time` is due next, milliseconds; `Infinity` if nothing runs. */
export function nextDueAtMs(call: Call): number {
  let dueAtMs = Infinity;
  for (const context of call.invites.values()) {
    dueAtMs = Math.min(dueAtMs, serverInviteDueAtMs(context.server), context.waiting?.untilAtMs ?? Infinity);
    for (const branch of context.branches) {
      dueAtMs = Math.min(dueAtMs, clientInviteDueAtMs(branch.client), branch.timerCAtMs, branch.limitAtMs);
      if (branch.cancelling !== undefined) dueAtMs = Math.min(dueAtMs, clientNonInviteDueAtMs(branch.cancelling));
    }
  }
  for (const context of call.requests.values()) {
    dueAtMs = Math.min(dueAtMs, serverNonInviteDueAtMs(context.server), clientNonInviteDueAtMs(context.client));
  }
  for (const own of call.own.values()) dueAtMs = Math.min(dueAtMs, clientNonInviteDueAtMs(own.client));
  return dueAtMs;
}
