import type { LegName } from "@carillon/dialog";
import type { Message } from "@carillon/sip";
import { isOver, type Call, type DialogPath } from "./call.ts";
import { mapped, passed } from "./cseq-map.ts";
import type { Effects } from "./effects.ts";
import { savePath } from "./record.ts";

/** The dialog of an in-dialog request, and the leg that sent it: by Call-ID and both tags (RFC 3261 §12). */
export function pathOf(call: Call, request: Message): { readonly path: DialogPath; readonly from: LegName } | undefined {
  const { fromTag, toTag } = request;
  if (toTag === "") return undefined;
  for (const path of call.paths.values()) {
    if (path.callerTag === fromTag && path.calleeTag === toTag) return { path, from: "caller" };
    if (path.calleeTag === fromTag && path.callerTag === toTag) return { path, from: "callee" };
  }
  return undefined;
}

/** What is left of a call when its dialogs are over, milliseconds: enough for late retransmissions. */
const AFTER_BYE_MS = 120_000;

/** A BYE passes or is sent: the dialog is over, and with the last one the record goes. */
export function endPath(call: Call, id: string, nowMs: number, fx: Effects): void {
  const path = call.paths.get(id);
  if (path === undefined || path.over) return;
  const next = { ...path, over: true };
  call.paths.set(id, next);
  savePath(next, fx);
  if (isOver(call)) fx.expire(nowMs + AFTER_BYE_MS);
}

/** The CSeq number with which a request of `from` goes on; the number that it brought is remembered. */
export function passPath(call: Call, path: DialogPath, from: LegName, number: number, fx: Effects): number {
  const direction = from === "caller" ? "toCallee" : "toCaller";
  const before = path[direction];
  const after = passed(before, number);
  if (after !== before) {
    const next = { ...path, [direction]: after };
    call.paths.set(path.id, next);
    savePath(next, fx);
  }
  return mapped(after, number);
}
