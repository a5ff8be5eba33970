// The record of a call: one Redis hash, `call:<call-id>`, with these fields. Each value is JSON but for the messages, which are the bytes as they were.
//
//   i|<server key>   state of an INVITE transaction        t|<server key>   the INVITE as it came
//   s|<branch>       an INVITE as it was sent              d|<dialog id>    path of a dialog
//   o|<branch>       a request of the cluster's own        r|<server key>   another request that came over a reliable transport
import { newCall, type Call, type DialogPath, type InviteBranch, type InviteContext, type OwnRequest, type RequestContext } from "./call.ts";
import type { Effects } from "./effects.ts";

/** Name of a call's record in its partition. */
export const callRecord = (callId: string): string => `call:${callId}`;

/** The sorted set of a partition's calls with transactions under way; the score is until when, in milliseconds. */
export const LIVE = "live";

/** Writes the state of an INVITE transaction; with `messages` also what it received and sent. */
export function saveInvite(context: InviteContext, fx: Effects, messages: boolean): void {
  const { key } = context;
  const fields = { ...context, request: "", message: undefined, held: [], branches: context.branches.map((branch) => ({ ...branch, sent: "" })) };
  fx.set(`i|${key}`, JSON.stringify(fields));
  context.stored = true;
  if (messages) {
    fx.set(`t|${key}`, context.request);
    for (const branch of context.branches) if (branch.sent !== "") fx.set(`s|${branch.id}`, branch.sent);
  }
  if (context.request === "") {
    fx.remove(`t|${key}`);
    for (const branch of context.branches) if (branch.sent === "") fx.remove(`s|${branch.id}`);
  }
}

export function dropInvite(context: InviteContext, fx: Effects): void {
  fx.remove(`i|${context.key}`);
  fx.remove(`t|${context.key}`);
  for (const branch of context.branches) fx.remove(`s|${branch.id}`);
}

export function savePath(path: DialogPath, fx: Effects): void {
  fx.set(`d|${path.id}`, JSON.stringify(path));
}

export function dropPath(id: string, fx: Effects): void {
  fx.remove(`d|${id}`);
}

export function saveOwn(own: OwnRequest, fx: Effects): void {
  fx.set(`o|${own.branch}`, JSON.stringify(own));
}

export function dropOwn(own: OwnRequest, fx: Effects): void {
  fx.remove(`o|${own.branch}`);
}

export function saveRequest(context: RequestContext, fx: Effects): void {
  fx.set(`r|${context.key}`, JSON.stringify({ ...context, held: undefined }));
}

export function dropRequest(context: RequestContext, fx: Effects): void {
  fx.remove(`r|${context.key}`);
}

/** A call from its record. Throws `CARILLON_PROXY_RECORD` where a field is not what this release writes. */
export function readCall(callId: string, partition: number, record: ReadonlyMap<string, string>): Call {
  const call = newCall(callId, partition);
  for (const [field, value] of record) {
    const name = field.slice(2);
    switch (field.slice(0, 2)) {
      case "i|":
        call.invites.set(name, readInvite(parse<InviteContext>(field, value), record));
        break;
      case "d|":
        call.paths.set(name, parse<DialogPath>(field, value));
        break;
      case "o|":
        call.own.set(name, parse<OwnRequest>(field, value));
        break;
      case "r|":
        call.requests.set(name, parse<RequestContext>(field, value));
        break;
      default:
        // t| and s| belong to their transaction.
        break;
    }
  }
  return call;
}

function readInvite(context: InviteContext, record: ReadonlyMap<string, string>): InviteContext {
  const branches = context.branches.map((branch: InviteBranch) => ({ ...branch, sent: record.get(`s|${branch.id}`) ?? "" }));
  return { ...context, message: undefined, request: record.get(`t|${context.key}`) ?? "", branches, stored: true };
}

/** JSON knows no Infinity: an instant that is null never comes. */
function parse<T>(field: string, value: string): T {
  try {
    return JSON.parse(value, (key, one: unknown) => (one === null && key.endsWith("AtMs") ? Infinity : one)) as T;
  } catch (cause) {
    throw Object.assign(new Error(`CARILLON_PROXY_RECORD: the call's record has a field ${field} that is not JSON`, { cause }), {
      code: "CARILLON_PROXY_RECORD",
    });
  }
}
