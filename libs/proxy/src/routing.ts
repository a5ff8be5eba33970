import { readUri, type Message, type Uri } from "@carillon/sip";
import type { Flow } from "@carillon/wire/flow";
import { isOurUri, type Identity } from "./identity.ts";

/** Somewhere to send a request to. */
export interface Target {
  readonly uri: string;
  /** How long an INVITE may go unanswered there, milliseconds; undefined: timers B and C alone say. */
  readonly limitMs?: number | undefined;
}

/** What to do with a request. */
export type Decision =
  | {
      readonly kind: "relay";
      /** Those of a group are tried at once, the next group when all of a group have failed. An empty group stands for the Request-URI and Route set as they are. */
      readonly targets: readonly (readonly Target[])[];
      /** Which failures lead to the next group: any, or only those that say that a target is not available (408, 5xx, unreachable). */
      readonly failover?: "any" | "unavailable" | undefined;
    }
  | {
      readonly kind: "reply";
      readonly status: number;
      readonly reason?: string | undefined;
      readonly headers?: readonly (readonly [string, string])[] | undefined;
    }
  /** Says nothing at all. */
  | { readonly kind: "drop" };

export type Route = (request: Message, flow: Flow) => Decision;

export interface RelayRule {
  /** Whether a request may be relayed to this host. */
  readonly allows: (host: string) => boolean;
}

/** RFC 3261 §10.2.2 and §16.5 without bindings: methods that the cluster itself answers. */
const ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE, REFER, NOTIFY, SUBSCRIBE, PUBLISH";

/** The built-in script: OPTIONS to the cluster itself are answered; a served domain's users are looked up; anything else is relayed to its host where that is allowed. */
export function builtinRoute(identity: Identity, relay: RelayRule): Route {
  return (request) => {
    const uri = readUri(request.requestUri);
    if (!uri.ok) return { kind: "reply", status: uri.fault.status };
    if (uri.value.scheme !== "sip" && uri.value.scheme !== "sips") return { kind: "reply", status: 416 };
    const next = nextRoute(request, identity);
    if (next !== undefined) return relayed(request, next, relay);
    if (!isOurUri(identity, uri.value)) return relayed(request, uri.value, relay);
    if (request.method === "OPTIONS") return { kind: "reply", status: 200, headers: [["Allow", ALLOW]] };
    if (request.method === "REGISTER") return { kind: "reply", status: 501, reason: "No Registrar Here" };
    return { kind: "reply", status: 404 };
  };
}

function relayed(request: Message, toward: Uri, relay: RelayRule): Decision {
  return relay.allows(toward.host) ? { kind: "relay", targets: [[{ uri: request.requestUri }]] } : { kind: "reply", status: 403, reason: "Relay Forbidden" };
}

/** The first Route that is not ours, where an initial request brings a route of its own. */
function nextRoute(request: Message, identity: Identity): Uri | undefined {
  for (const route of request.routes) {
    const uri = readUri(route.uri);
    if (uri.ok && !isOurUri(identity, uri.value)) return uri.value;
  }
  return undefined;
}
