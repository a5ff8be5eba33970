import { lookup, resolveSrv } from "node:dns/promises";
import { isIP } from "node:net";
import type { Transport } from "@carillon/wire";

export interface Place {
  readonly host: string;
  readonly port: number;
}

/** Answers at once for an address; asks DNS for a name (RFC 3263 §4.2: SRV where no port was given, then addresses). */
export interface Resolver {
  /** Undefined where DNS must be asked. */
  known(transport: Transport, host: string, port: number): Place | undefined;
  /** Rejects where there is no address, or no answer within the limit. */
  resolve(transport: Transport, host: string, port: number): Promise<Place>;
}

const CACHED_FOR_MS = 30_000;
const MOST_CACHED = 2_000;
const ANSWER_WITHIN_MS = 2_000;

export function createResolver(nowMs: () => number = () => performance.now()): Resolver {
  const cache = new Map<string, { readonly place: Place; readonly untilMs: number }>();
  const portOf = (transport: Transport, port: number): number => (port > 0 ? port : transport === "tls" || transport === "wss" ? 5061 : 5060);

  const ask = async (transport: Transport, host: string, port: number): Promise<Place> => {
    if (port === 0) {
      try {
        const [first] = (await resolveSrv(transport === "tls" ? `_sips._tcp.${host}` : `_sip._${transport}.${host}`)).toSorted(
          (a, b) => a.priority - b.priority || b.weight - a.weight,
        );
        if (first !== undefined) return { host: (await lookup(first.name)).address, port: first.port };
      } catch (error) {
        // No SRV is the usual case: the name itself is asked for then.
        if (!(error instanceof Error)) throw error;
      }
    }
    return { host: (await lookup(host)).address, port: portOf(transport, port) };
  };

  return {
    known: (transport, host, port) => {
      if (isIP(host) !== 0) return { host, port: portOf(transport, port) };
      const cached = cache.get(`${transport}|${host}|${port}`);
      return cached !== undefined && cached.untilMs > nowMs() ? cached.place : undefined;
    },
    resolve: async (transport, host, port) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const limit = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`DNS did not answer for ${host} within ${ANSWER_WITHIN_MS} ms`)), ANSWER_WITHIN_MS);
      });
      try {
        const place = await Promise.race([ask(transport, host, port), limit]);
        const [oldest] = cache.keys();
        if (cache.size >= MOST_CACHED && oldest !== undefined) cache.delete(oldest);
        cache.set(`${transport}|${host}|${port}`, { place, untilMs: nowMs() + CACHED_FOR_MS });
        return place;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
