import type { Bus, Subscription } from "@carillon/bus";
import type { Fence, Lease, Role, Store } from "@carillon/store";
import { place } from "./placement.ts";
import { repeat } from "./repeat.ts";
import type { Membership } from "./membership.ts";

/** Which partitions this member owns in one role. Held by leases in the store: a member whose lease ran out owns nothing, whatever it believes. */
export interface Ownership {
  /** The lease, if we hold it and it is valid at this instant; undefined otherwise: then send and write nothing. */
  lease(partition: number): Fence | undefined;
  held(): readonly number[];
  /** We mean to take it: listen, and keep what comes until it is taken. */
  onWanted(listener: (partition: number) => void): void;
  /** It became ours. `note` is what the former owner's `onYield` said, where it handed the partition over. */
  onTaken(listener: (partition: number, note: string | undefined) => Promise<void>): void;
  /** It shall go to another member: finish what is under way; the lease is given back when the promise settles, at the latest after 2 s. */
  onYield(listener: (partition: number) => Promise<string>): void;
  /** It is not ours any more, or we no longer want it: forget it at once. */
  onLost(listener: (partition: number) => void): void;
  /** Gives everything back, so that others take over now instead of when the leases run out. */
  stop(): Promise<void>;
}

export interface OwnershipOptions {
  readonly role: Role;
  readonly member: string;
  readonly partitions: number;
  readonly store: Store;
  readonly bus: Bus;
  readonly membership: Membership;
  /** Life of a lease, milliseconds. Renewed three times in it. */
  readonly leaseMs: number;
  readonly onError: (error: unknown) => void;
  /** Pause between two looks at what should be ours, milliseconds. */
  readonly everyMs?: number | undefined;
}

interface Held {
  readonly lease: Lease;
  readonly fence: Fence;
  validUntilMs: number;
  yielding: boolean;
}

const YIELD_LIMIT_MS = 2_000;
/** How long an owner that hands over goes on serving, so that the next one's subscription is in place: milliseconds. */
const OVERLAP_MS = 150;
const released = (role: Role): string => `cluster.released.${role}`;
/** Said by a member that listens for partitions which it should have and another one holds. */
const wantedBy = (role: Role): string => `cluster.wanted.${role}`;
/** How long a member that stops waits for others to want its partitions: milliseconds. */
const HEIR_WITHIN_MS = 1_500;

export function startOwnership(options: OwnershipOptions): Ownership {
  const { role, member, partitions, store, bus, membership, leaseMs, onError } = options;
  const everyMs = options.everyMs ?? 250;
  const held = new Map<number, Held>();
  const wanted = new Set<number>();
  const notes = new Map<number, string>();
  /** Who said that it listens for a partition of ours. */
  const heirs = new Map<number, string>();
  const wantedListeners: ((partition: number) => void)[] = [];
  const takenListeners: ((partition: number, note: string | undefined) => Promise<void>)[] = [];
  const yieldListeners: ((partition: number) => Promise<string>)[] = [];
  const lostListeners: ((partition: number) => void)[] = [];
  let stopped = false;
  let busy: Promise<void> = Promise.resolve();

  const lose = (partition: number): void => {
    held.delete(partition);
    heirs.delete(partition);
    for (const listener of lostListeners) listener(partition);
  };

  /** Drops what ran out while we were paused or without the store. */
  const dropExpired = (): void => {
    const nowMs = performance.now();
    for (const [partition, one] of held) if (nowMs >= one.validUntilMs) lose(partition);
  };

  const renew = async (): Promise<void> => {
    if (held.size === 0) return;
    const askedAtMs = performance.now();
    const mine = [...held.values()];
    const lost = new Set(
      await store.renew(
        mine.map((one) => one.lease),
        leaseMs,
      ),
    );
    for (const one of mine) {
      if (lost.has(one.lease.partition)) {
        if (held.get(one.lease.partition) === one) lose(one.lease.partition);
      } else one.validUntilMs = askedAtMs + leaseMs;
    }
  };

  const claim = async (missing: readonly number[]): Promise<void> => {
    const askedAtMs = performance.now();
    const leases = await store.claim(role, missing, member, leaseMs);
    for (const lease of leases) {
      if (stopped) break;
      const { partition, epoch } = lease;
      held.set(partition, { lease, fence: { role, partition, member, epoch }, validUntilMs: askedAtMs + leaseMs, yielding: false });
      wanted.delete(partition);
      const note = notes.get(partition);
      notes.delete(partition);
      for (const listener of takenListeners) listener(partition, note).catch(onError);
    }
  };

  const giveBack = async (giving: readonly Held[]): Promise<void> => {
    const said: { partition: number; note: string }[] = [];
    for (const one of giving) one.yielding = true;
    // Until the next owner listens we go on: what both hear, the note tells apart.
    await new Promise((resolve) => setTimeout(resolve, OVERLAP_MS));
    await Promise.all(
      giving.map(async (one) => {
        const { partition } = one.lease;
        let note = "";
        for (const listener of yieldListeners) note = await within(listener(partition), YIELD_LIMIT_MS, "");
        said.push({ partition, note });
        if (held.get(partition) === one) lose(partition);
      }),
    );
    await store.release(giving.map((one) => one.lease));
    bus.publish(released(role), Buffer.from(JSON.stringify(said)));
  };

  const round = async (): Promise<void> => {
    dropExpired();
    if (stopped) return;
    const placed = place(partitions, membership.eligible(role));
    const missing: number[] = [];
    const giving: Held[] = [];
    for (let partition = 0; partition < partitions; partition++) {
      const one = held.get(partition);
      if (placed[partition] === member) {
        if (one !== undefined) continue;
        missing.push(partition);
        if (wanted.has(partition)) continue;
        wanted.add(partition);
        for (const listener of wantedListeners) listener(partition);
      } else {
        if (wanted.delete(partition)) for (const listener of lostListeners) listener(partition);
        // It goes on here until the next owner listens: nothing that comes in between is lost.
        if (one !== undefined && !one.yielding && heirs.has(partition) && heirs.get(partition) === placed[partition]) giving.push(one);
      }
    }
    if (giving.length > 0) await giveBack(giving);
    if (missing.length === 0) return;
    await claim(missing);
    if (wanted.size > 0) bus.publish(wantedBy(role), Buffer.from(JSON.stringify({ member, partitions: [...wanted] })));
  };

  /** Until others listen for all that is ours, or for as long as one waits for them. */
  const untilHeirs = async (): Promise<void> => {
    const untilMs = performance.now() + HEIR_WITHIN_MS;
    while (performance.now() < untilMs && [...held.keys()].some((partition) => !heirs.has(partition))) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };

  let queued = false;
  /** Rounds never overlap; a store that is away makes the present one fail within its own time limit. */
  const soon = (): void => {
    if (queued || stopped) return;
    queued = true;
    busy = busy
      .then(() => {
        queued = false;
        return stopped ? undefined : round();
      })
      .catch(onError);
  };
  const heardRelease: Subscription = bus.subscribe(released(role), ({ payload }) => {
    for (const { partition, note } of readReleased(payload)) if (wanted.has(partition)) notes.set(partition, note);
    if (wanted.size > 0) soon();
  });
  const heardWanted: Subscription = bus.subscribe(wantedBy(role), ({ payload }) => {
    const asked = readWanted(payload);
    if (asked === undefined || asked.member === member) return;
    let ours = false;
    for (const partition of asked.partitions) {
      if (!held.has(partition)) continue;
      heirs.set(partition, asked.member);
      ours = true;
    }
    if (ours) soon();
  });
  membership.onChange(soon);
  const timer = setInterval(soon, everyMs);
  soon();
  // Apart from the rounds: a long take-over must not cost the leases that we hold.
  const renewal = repeat(leaseMs / 3, renew, onError);
  const expiry = setInterval(dropExpired, leaseMs / 3);

  return {
    lease: (partition) => {
      const one = held.get(partition);
      return one !== undefined && performance.now() < one.validUntilMs ? one.fence : undefined;
    },
    held: () => [...held.keys()],
    onWanted: (listener) => {
      wantedListeners.push(listener);
    },
    onTaken: (listener) => {
      takenListeners.push(listener);
    },
    onYield: (listener) => {
      yieldListeners.push(listener);
    },
    onLost: (listener) => {
      lostListeners.push(listener);
    },
    stop: async () => {
      stopped = true;
      clearInterval(timer);
      heardRelease.stop();
      await busy;
      if (membership.eligible(role).some((name) => name !== member)) await untilHeirs();
      renewal.stop();
      clearInterval(expiry);
      heardWanted.stop();
      for (const partition of wanted) for (const listener of lostListeners) listener(partition);
      wanted.clear();
      if (held.size > 0) await giveBack([...held.values()]).catch(onError);
    },
  };
}

function readReleased(payload: Uint8Array): readonly { readonly partition: number; readonly note: string }[] {
  try {
    const read: unknown = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("utf8"));
    return Array.isArray(read) ? (read as { partition: number; note: string }[]) : [];
  } catch {
    // Only a stranger on the subject: the leases themselves decide.
    return [];
  }
}

function readWanted(payload: Uint8Array): { readonly member: string; readonly partitions: readonly number[] } | undefined {
  try {
    const read: unknown = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("utf8"));
    if (typeof read !== "object" || read === null || !("member" in read) || !("partitions" in read)) return undefined;
    return typeof read.member === "string" && Array.isArray(read.partitions) ? { member: read.member, partitions: read.partitions as number[] } : undefined;
  } catch {
    // A stranger on the subject.
    return undefined;
  }
}

/** The promise's value, or `otherwise` where it takes longer than `limitMs` or rejects. */
async function within<T>(promise: Promise<T>, limitMs: number, otherwise: T): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(otherwise), limitMs);
  });
  try {
    return await Promise.race([promise, limit]);
  } catch {
    return otherwise;
  } finally {
    clearTimeout(timer);
  }
}
