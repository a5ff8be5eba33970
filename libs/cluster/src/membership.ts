import type { Bus } from "@carillon/bus";
import { CLUSTER_ALIVE, CLUSTER_LEAVING } from "@carillon/wire";

export type MemberRole = "ingress" | "transaction" | "dialog" | "timer" | "api";

export interface Member {
  readonly name: string;
  readonly roles: readonly MemberRole[];
  /** When it started, milliseconds of its own clock. */
  readonly sinceMs: number;
  /** Where its health endpoints listen; empty if unknown. */
  readonly address: string;
}

export interface Membership {
  /** Members heard within `silentAfterMs`, ourselves included, by name. */
  members(): readonly Member[];
  /** Names of the live members of a role that were heard for long enough to be given work, sorted. */
  eligible(role: MemberRole): readonly string[];
  onChange(listener: () => void): void;
  /** Says goodbye and stops announcing. */
  leave(): void;
}

export interface MembershipOptions {
  readonly bus: Bus;
  readonly self: Member;
  /** Pause between two announcements, milliseconds. */
  readonly everyMs?: number | undefined;
  /** A member not heard for so long is gone, milliseconds. */
  readonly silentAfterMs?: number | undefined;
  /** A member must be heard for so long before it counts for placement, milliseconds: comings and goings in quick succession move nothing. */
  readonly settleMs?: number | undefined;
}

interface Heard {
  readonly member: Member;
  readonly firstAtMs: number;
  lastAtMs: number;
}

const MOST_MEMBERS = 10_000;

/** Members tell each other over `cluster.alive`; nothing is configured and nothing is stored. */
export function joinCluster(options: MembershipOptions): Membership {
  const { bus, self } = options;
  const everyMs = options.everyMs ?? 500;
  const silentAfterMs = options.silentAfterMs ?? 2_000;
  const settleMs = options.settleMs ?? 600;
  const heard = new Map<string, Heard>();
  const listeners: (() => void)[] = [];
  const announcement = Buffer.from(JSON.stringify({ v: 1, ...self }));
  const changed = (): void => {
    for (const listener of listeners) listener();
  };
  const hear = (member: Member): boolean => {
    const nowMs = performance.now();
    const known = heard.get(member.name);
    if (known !== undefined) {
      known.lastAtMs = nowMs;
      return false;
    }
    if (heard.size >= MOST_MEMBERS) return false;
    heard.set(member.name, { member, firstAtMs: nowMs, lastAtMs: nowMs });
    return true;
  };
  hear(self);
  const alive = bus.subscribe(CLUSTER_ALIVE, ({ payload }) => {
    const member = readMember(payload);
    if (member === undefined || !hear(member)) return;
    // A newcomer does not know us yet: it shall not wait for our next turn.
    bus.publish(CLUSTER_ALIVE, announcement);
    changed();
  });
  const leaving = bus.subscribe(CLUSTER_LEAVING, ({ payload }) => {
    const member = readMember(payload);
    if (member !== undefined && member.name !== self.name && heard.delete(member.name)) changed();
  });
  bus.publish(CLUSTER_ALIVE, announcement);
  let settled = 0;
  let left = false;
  const timer = setInterval(() => {
    bus.publish(CLUSTER_ALIVE, announcement);
    const nowMs = performance.now();
    hear(self);
    // Without a bus nobody is heard, which says nothing about the others.
    if (bus.status === "connected") {
      for (const [name, { lastAtMs }] of heard) if (nowMs - lastAtMs > silentAfterMs) heard.delete(name);
    }
    const nowSettled = [...heard.values()].filter((one) => nowMs - one.firstAtMs >= settleMs).length;
    if (nowSettled !== settled) {
      settled = nowSettled;
      changed();
    }
  }, everyMs);
  return {
    members: () => [...heard.values()].map((one) => one.member).toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    eligible: (role) => {
      const nowMs = performance.now();
      const names: string[] = [];
      for (const { member, firstAtMs } of heard.values()) if (member.roles.includes(role) && nowMs - firstAtMs >= settleMs) names.push(member.name);
      return names.toSorted();
    },
    onChange: (listener) => {
      listeners.push(listener);
    },
    leave: () => {
      if (left) return;
      left = true;
      clearInterval(timer);
      alive.stop();
      leaving.stop();
      heard.delete(self.name);
      bus.publish(CLUSTER_LEAVING, announcement);
    },
  };
}

function readMember(payload: Uint8Array): Member | undefined {
  let read: unknown;
  try {
    read = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("utf8"));
  } catch {
    // A member of another version, or a stranger on the subject: nothing to go on.
    return undefined;
  }
  if (typeof read !== "object" || read === null) return undefined;
  const { name, roles, sinceMs, address } = read as Partial<Member>;
  if (typeof name !== "string" || !Array.isArray(roles) || typeof sinceMs !== "number" || typeof address !== "string") return undefined;
  return { name, roles, sinceMs, address };
}
