import { leaseName, leaseValue, prefixOf, readLeaseValue } from "./keys.ts";
import type { Commit, Fence, Lease, Role, Scored, Store, Write } from "./store.ts";

type Held =
  | { readonly kind: "record"; readonly fields: Map<string, string>; expiresAtMs: number }
  | { readonly kind: "value"; value: string; expiresAtMs: number }
  | { readonly kind: "sorted"; readonly scores: Map<string, number>; expiresAtMs: number };

/** How many keys are looked at for their end of life with each commit: nothing outlives its time by much, and no sweep stops the process. */
const SWEPT_PER_COMMIT = 4;

export interface MemoryStore extends Store {
  /** Keys that are held, expired ones included until they are swept. */
  readonly size: number;
  /** Names of keys and their remaining life, for tests. */
  keys(): readonly { readonly key: string; readonly ttlMs: number }[];
}

/** The store of a single process: the semantics of Redis, gone with the process. `now` in milliseconds since the epoch. */
export function memoryStore(now: () => number = Date.now): MemoryStore {
  const held = new Map<string, Held>();
  const epochs = new Map<string, number>();
  let commits: Commit[] = [];
  let sweep: IterableIterator<[string, Held]> = held.entries();

  const find = (key: string): Held | undefined => {
    const one = held.get(key);
    if (one === undefined || one.expiresAtMs > now()) return one;
    held.delete(key);
    return undefined;
  };

  const sweepSome = (): void => {
    for (let count = 0; count < SWEPT_PER_COMMIT; count++) {
      const next = sweep.next();
      if (next.done === true) {
        sweep = held.entries();
        return;
      }
      if (next.value[1].expiresAtMs <= now()) held.delete(next.value[0]);
    }
  };

  const record = (key: string): Map<string, string> => {
    const one = find(key);
    if (one?.kind === "record") return one.fields;
    const fields = new Map<string, string>();
    held.set(key, { kind: "record", fields, expiresAtMs: 0 });
    return fields;
  };

  const sorted = (key: string): Map<string, number> => {
    const one = find(key);
    if (one?.kind === "sorted") return one.scores;
    const scores = new Map<string, number>();
    held.set(key, { kind: "sorted", scores, expiresAtMs: 0 });
    return scores;
  };

  const prolong = (key: string, ttlMs: number): void => {
    const one = held.get(key);
    if (one !== undefined) one.expiresAtMs = Math.max(one.expiresAtMs, now() + ttlMs);
  };

  const isHeld = (fence: Fence): boolean => {
    const one = find(prefixOf(fence.partition) + leaseName(fence.role));
    return one?.kind === "value" && one.value === leaseValue(fence.member, fence.epoch);
  };

  const apply = (prefix: string, write: Write): void => {
    const key = prefix + write.name;
    switch (write.kind) {
      case "set": {
        const fields = record(key);
        for (let at = 0; at + 1 < write.fields.length; at += 2) fields.set(write.fields[at] ?? "", write.fields[at + 1] ?? "");
        prolong(key, write.ttlMs);
        return;
      }
      case "unset": {
        const one = find(key);
        if (one?.kind !== "record") return;
        for (const field of write.fields) one.fields.delete(field);
        if (one.fields.size === 0) held.delete(key);
        return;
      }
      case "put":
        held.set(key, { kind: "value", value: write.value, expiresAtMs: now() + write.ttlMs });
        return;
      case "expire": {
        const one = find(key);
        if (one !== undefined) one.expiresAtMs = now() + write.ttlMs;
        return;
      }
      case "delete":
        held.delete(key);
        return;
      case "score":
        sorted(key).set(write.member, write.score);
        prolong(key, write.ttlMs);
        return;
      case "unscore": {
        const one = find(key);
        if (one?.kind !== "sorted") return;
        for (const member of write.members) one.scores.delete(member);
        if (one.scores.size === 0) held.delete(key);
        return;
      }
      case "trim": {
        const one = find(key);
        if (one?.kind !== "sorted") return;
        for (const [member, score] of one.scores) if (score <= write.maxScore) one.scores.delete(member);
        if (one.scores.size === 0) held.delete(key);
      }
    }
  };

  const flush = (): void => {
    const batch = commits;
    commits = [];
    for (const { fence, writes, done } of batch) {
      const ours = isHeld(fence);
      if (ours) for (const write of writes) apply(prefixOf(fence.partition), write);
      done(ours ? "written" : "refused");
      sweepSome();
    }
  };

  const claimOne = (role: Role, partition: number, member: string, ttlMs: number): Lease | undefined => {
    const key = prefixOf(partition) + leaseName(role);
    const one = find(key);
    const present = one?.kind === "value" ? readLeaseValue(one.value) : undefined;
    if (present !== undefined && present.member !== member) return undefined;
    const epoch = present?.epoch ?? (epochs.get(key) ?? 0) + 1;
    epochs.set(key, epoch);
    held.set(key, { kind: "value", value: leaseValue(member, epoch), expiresAtMs: now() + ttlMs });
    return { partition, role, member, epoch };
  };

  const rangeOf = (key: string, minScore: number, maxScore: number): Scored[] => {
    const one = find(key);
    if (one?.kind !== "sorted") return [];
    const found: Scored[] = [];
    for (const [member, score] of one.scores) if (score >= minScore && score <= maxScore) found.push({ member, score });
    return found.toSorted((a, b) => a.score - b.score || (a.member < b.member ? -1 : 1));
  };

  const readRecord = (partition: number, name: string): ReadonlyMap<string, string> | undefined => {
    const one = find(prefixOf(partition) + name);
    return one?.kind === "record" ? new Map(one.fields) : undefined;
  };

  const readValue = (partition: number, name: string): string | undefined => {
    const one = find(prefixOf(partition) + name);
    return one?.kind === "value" ? one.value : undefined;
  };

  const sizeOf = (partition: number, name: string): number => {
    const one = find(prefixOf(partition) + name);
    return one === undefined || one.kind === "value" ? 0 : one.kind === "record" ? one.fields.size : one.scores.size;
  };

  return {
    status: "connected",
    onStatus: () => ({ stop: () => undefined }),
    get size() {
      return held.size;
    },
    keys: () => [...held].filter(([key]) => find(key) !== undefined).map(([key, one]) => ({ key, ttlMs: one.expiresAtMs - now() })),
    nowMs: () => Promise.resolve(now()),
    claim: async (role, partitions, member, ttlMs) =>
      partitions.map((partition) => claimOne(role, partition, member, ttlMs)).filter((lease) => lease !== undefined),
    renew: async (leases, ttlMs) =>
      leases.flatMap((lease) => {
        if (!isHeld(lease)) return [lease.partition];
        prolong(prefixOf(lease.partition) + leaseName(lease.role), ttlMs);
        return [];
      }),
    release: async (leases) => {
      for (const lease of leases) if (isHeld(lease)) held.delete(prefixOf(lease.partition) + leaseName(lease.role));
    },
    leases: async (role, partitions) =>
      partitions.flatMap((partition) => {
        const present = readLeaseValue(readValue(partition, leaseName(role)) ?? "");
        return present === undefined ? [] : [{ partition, role, ...present }];
      }),
    commit: (commit) => {
      commits.push(commit);
      if (commits.length === 1) queueMicrotask(flush);
    },
    record: async (partition, name) => readRecord(partition, name),
    records: async (partition, names) => names.map((name) => readRecord(partition, name)),
    value: async (partition, name) => readValue(partition, name),
    values: async (partition, names) => names.map((name) => readValue(partition, name)),
    range: async (partition, name, minScore, maxScore, offset, limit) => rangeOf(prefixOf(partition) + name, minScore, maxScore).slice(offset, offset + limit),
    sizes: async (partitions, name) => partitions.map((partition) => sizeOf(partition, name)),
    recordSizes: async (partitions, name) => partitions.map((partition) => sizeOf(partition, name)),
    takeDue: async (fences, name, nowMs, hiddenUntilMs, limit) => {
      const taken: { partition: number; due: readonly Scored[] }[] = [];
      const refused: number[] = [];
      for (const fence of fences) {
        const { partition } = fence;
        if (!isHeld(fence)) {
          refused.push(partition);
          continue;
        }
        const due = rangeOf(prefixOf(partition) + name, -Infinity, nowMs).slice(0, limit);
        const scores = due.length > 0 ? sorted(prefixOf(partition) + name) : undefined;
        for (const { member } of due) scores?.set(member, hiddenUntilMs);
        if (due.length > 0) taken.push({ partition, due });
      }
      return { taken, refused };
    },
    close: async () => {
      held.clear();
    },
  };
}
