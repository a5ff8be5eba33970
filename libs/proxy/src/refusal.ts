import type { Message } from "@carillon/sip";

export interface Refusal {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
}

/** RFC 3261 §16.3 but for loops: why a request cannot be proxied; undefined where it can. */
export function refusal(request: Message): Refusal | undefined {
  const fault = request.fault();
  if (fault !== undefined) return { status: fault.status, headers: [] };
  if (request.maxForwards === 0) return { status: 483, headers: [] };
  // No extension is asked of proxies that we know.
  if (request.proxyRequire.length > 0) return { status: 420, headers: [["Unsupported", request.proxyRequire.join(", ")]] };
  return undefined;
}
