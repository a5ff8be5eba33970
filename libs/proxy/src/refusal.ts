import type { Message } from "@carillon/sip";
import type { Flow } from "@carillon/wire/flow";
import type { Call } from "./call.ts";
import { wasRecorded } from "./forward.ts";
import { pathOf } from "./path.ts";
import type { Policy } from "./policy.ts";

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

/**
 * Whether a request only claims to be within a dialog: none of that Call-ID and tags is known, no Route shows that we were in its path, and as a request of its own
 * it would not be relayed. A To tag alone opens no way through.
 */
export const isStranger = (call: Call, request: Message, flow: Flow, policy: Policy): boolean =>
  pathOf(call, request) === undefined && !wasRecorded(request, policy.identity, policy.seed) && policy.route(request, flow).kind === "reply";
