import { unfolded } from "./blank.ts";

/**
 * The Call-ID of a message without reading the rest: what an ingress needs to find the owner. Undefined where the headers hold none, or an empty one.
 * The same value as `Message.callId` for every message that can be read.
 */
export function callIdOf(text: string): string | undefined {
  let at = text.indexOf("\n") + 1;
  if (at === 0) return undefined;
  for (;;) {
    const end = text.indexOf("\n", at);
    if (end < 0) return undefined;
    const code = text.charCodeAt(at) | 0x20;
    if (code === 0x63 || code === 0x69) {
      const found = callIdLine(text, at, end);
      if (found !== undefined) return found === "" ? undefined : found;
    } else if (end === at || (end === at + 1 && text.charCodeAt(at) === 0x0d)) return undefined;
    at = end + 1;
  }
}

/** The value if this line is a Call-ID; undefined if it is another header. */
function callIdLine(text: string, at: number, end: number): string | undefined {
  let colon = at;
  const most = Math.min(end, at + 40);
  while (colon < most && text.charCodeAt(colon) !== 0x3a) colon++;
  if (colon === most) return undefined;
  const name = text
    .slice(at, colon)
    .replace(/[ \t]+$/, "")
    .toLowerCase();
  if (name !== "call-id" && name !== "i") return undefined;
  let last = end;
  // A folded value goes on in lines that begin with white space (RFC 3261 §7.3.1).
  while (text.charCodeAt(last + 1) === 0x20 || text.charCodeAt(last + 1) === 0x09) {
    const next = text.indexOf("\n", last + 1);
    if (next < 0) break;
    last = next;
  }
  return unfolded(text.slice(colon + 1, last));
}
