/** One token bucket per source address, in a map of bounded size: the address unheard for longest goes first. */
export interface FloodLimit {
  allows(host: string): boolean;
}

const MOST_SOURCES = 50_000;

/** `perSecond` messages from one address on average, `burst` at once. 0 per second: no limit. */
export function floodLimit(perSecond: number, burst: number, nowMs: () => number = () => performance.now()): FloodLimit {
  if (perSecond === 0) return { allows: () => true };
  const buckets = new Map<string, { tokens: number; atMs: number }>();
  return {
    allows: (host) => {
      const now = nowMs();
      let bucket = buckets.get(host);
      if (bucket === undefined) {
        const [oldest] = buckets.keys();
        if (buckets.size >= MOST_SOURCES && oldest !== undefined) buckets.delete(oldest);
        bucket = { tokens: burst, atMs: now };
        buckets.set(host, bucket);
      }
      bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.atMs) * perSecond) / 1_000);
      bucket.atMs = now;
      if (bucket.tokens < 1) return false;
      bucket.tokens--;
      return true;
    },
  };
}
