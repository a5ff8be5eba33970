import type { CallCommand } from "@carillon/dialog";
import { readUri, writeRequest, type Message } from "@carillon/sip";
import { startClientNonInvite, stepClientNonInvite, T1_MS, T4_MS } from "@carillon/transaction";
import { isReliable } from "@carillon/wire/flow";
import type { Call, OwnRequest } from "./call.ts";
import { taken } from "./cseq-map.ts";
import { digest } from "./digest.ts";
import type { Effects } from "./effects.ts";
import { MAGIC_COOKIE } from "./forward.ts";
import { advertisedFor, viaOf } from "./identity.ts";
import { nextHopToward } from "./next-hop.ts";
import { endPath } from "./path.ts";
import type { Policy } from "./policy.ts";
import { dropOwn, saveOwn, savePath } from "./record.ts";
import type { RouteOutcome, RouteRun } from "./route-run.ts";

type RequestCommand = CallCommand & { kind: "request" };

const NO_ANSWER = 408;
const NO_DIALOG = 481;

/** Sends a request of the cluster's own within a dialog. A command that was carried out before is not carried out again: its answer, if there is one, is told again. */
export function startOwn(call: Call, command: RequestCommand, nowMs: number, policy: Policy, fx: Effects): void {
  const { id, leg, method, serial } = command;
  const path = call.paths.get(id);
  if (path === undefined) return tellAnswer(command, NO_DIALOG, nowMs, fx);
  const mark = path[leg];
  if (serial <= mark.serial) {
    fx.count("commandRepeated");
    if (serial === mark.serial && mark.status !== 0) tellAnswer(command, mark.status, nowMs, fx);
    return;
  }
  const to = command.legs[leg];
  const from = command.legs[leg === "caller" ? "callee" : "caller"];
  const [firstRoute] = to.routeSet;
  const hop = nextHopToward(firstRoute === undefined ? to.contact : uriOf(firstRoute), to.flow);
  if (hop === undefined) return tellAnswer(command, NO_ANSWER, nowMs, fx);
  const direction = leg === "caller" ? "toCaller" : "toCallee";
  const { number, next } = taken(path[direction]);
  const branch = `${MAGIC_COOKIE}${digest(`own|${id}|${leg}|${number}`, policy.seed)}.own`;
  // RFC 3261 §16.12.1.2: a strict router as the first of the route set wants its own URI as Request-URI.
  const strict = firstRoute !== undefined && !isLoose(uriOf(firstRoute));
  const sent = writeRequest({
    method,
    requestUri: strict ? uriOf(firstRoute) : to.contact,
    vias: [`${viaOf(advertisedFor(policy.identity, hop.transport), branch)};rport`],
    from: from.address,
    to: to.address,
    callId: call.callId,
    cseq: number,
    maxForwards: 70,
    routes: strict ? [...to.routeSet.slice(1), `<${to.contact}>`] : to.routeSet,
    headers: command.reason === undefined ? [] : [["Reason", `SIP;cause=${causeOf(command.reason)};text="${command.reason}"`]],
  });
  const marked = { ...path, [direction]: next, [leg]: { serial, status: 0 } };
  call.paths.set(id, marked);
  savePath(marked, fx);
  const own: OwnRequest = {
    branch,
    dialogId: id,
    leg,
    method,
    serial,
    hop,
    sent,
    waiting: policy.script?.local === true,
    client: startClientNonInvite(isReliable(hop.transport), nowMs, command.answerWithinMs),
  };
  call.own.set(branch, own);
  saveOwn(own, fx);
  if (method === "BYE") endPath(call, id, nowMs, fx);
  fx.live(nowMs + 64 * T1_MS + T4_MS);
  fx.keep(nowMs + 4 * 64 * T1_MS);
  if (own.waiting) fx.run(runOf(call, own));
  else fx.send(hop, call.callId, branch, method, sent);
}

const runOf = (call: Call, own: OwnRequest): RouteRun => ({
  callId: call.callId,
  key: own.branch,
  serial: own.serial,
  script: "",
  route: "local",
  name: "",
  flow: undefined,
  request: own.sent,
  response: "",
  status: 0,
  targets: [],
  vars: "",
  dialogId: own.dialogId,
  fault: "",
});

/** Another owner was at it: the local route that it did not live to hear of runs again. */
export function resumeOwn(call: Call, own: OwnRequest, fx: Effects): void {
  if (own.waiting) fx.run(runOf(call, own));
}

/** What came of the local route of a request of the cluster's own. Where the route failed, it leaves as it was made. */
export function ownRouted(call: Call, own: OwnRequest, outcome: RouteOutcome, fx: Effects): void {
  if (!own.waiting) return;
  own.waiting = false;
  fx.count(outcome.failed === undefined ? "routeRan" : "routeFailed");
  own.sent = outcome.text ?? own.sent;
  saveOwn(own, fx);
  fx.send(own.hop, call.callId, own.branch, own.method, own.sent);
}

const uriOf = (route: string): string => /<([^>]*)>/.exec(route)?.[1] ?? route;

function isLoose(uri: string): boolean {
  const read = readUri(uri);
  return read.ok && read.value.params.has("lr");
}

/** RFC 3326: the cause that goes with an end reason. */
const causeOf = (reason: string): number => (reason === "Ping Timeout" ? NO_ANSWER : 200);

function tellAnswer(
  command: { id: string; leg: OwnRequest["leg"]; method: OwnRequest["method"]; serial: number },
  status: number,
  nowMs: number,
  fx: Effects,
): void {
  fx.tell({ kind: "answered", id: command.id, atMs: nowMs, leg: command.leg, method: command.method, serial: command.serial, status });
}

export function ownResponded(call: Call, own: OwnRequest, response: Message, nowMs: number, fx: Effects): void {
  const { next, actions } = stepClientNonInvite(own.client, { kind: "response", status: response.status }, nowMs);
  own.client = next;
  if (actions.length > 0 && response.status >= 200) answered(call, own, response.status, nowMs, fx);
}

/** Nothing answered: the request could not even be sent. */
export function ownUndeliverable(call: Call, own: OwnRequest, nowMs: number, fx: Effects): void {
  const { next, actions } = stepClientNonInvite(own.client, { kind: "transportError" }, nowMs);
  own.client = next;
  fx.count("undeliverable");
  if (actions.length > 0) answered(call, own, NO_ANSWER, nowMs, fx);
}

export function ownTime(call: Call, own: OwnRequest, nowMs: number, fx: Effects): void {
  const { next, actions } = stepClientNonInvite(own.client, { kind: "time" }, nowMs);
  own.client = next;
  for (const action of actions) {
    if (action.kind === "send") {
      if (own.waiting) continue;
      fx.count("requestRepeated");
      fx.send(own.hop, call.callId, own.branch, own.method, own.sent);
    } else if (action.kind === "fail") {
      fx.count("timerF");
      answered(call, own, NO_ANSWER, nowMs, fx);
    }
  }
  if (next.state === "terminated") call.own.delete(own.branch);
}

function answered(call: Call, own: OwnRequest, status: number, nowMs: number, fx: Effects): void {
  const path = call.paths.get(own.dialogId);
  if (path !== undefined && path[own.leg].serial === own.serial) {
    const marked = { ...path, [own.leg]: { serial: own.serial, status } };
    call.paths.set(path.id, marked);
    savePath(marked, fx);
  }
  dropOwn(own, fx);
  tellAnswer({ id: own.dialogId, leg: own.leg, method: own.method, serial: own.serial }, status, nowMs, fx);
}
