import { inProcessBus, type Bus } from "@carillon/bus";
import type { DialogPolicy, EndReason } from "@carillon/dialog";
import { builtinRoute, type Identity, type Policy } from "@carillon/proxy";
import { readMessage, writeRequest, writeResponse, type Message } from "@carillon/sip";
import { memoryStore, type MemoryStore, type Role } from "@carillon/store";
import { until } from "@carillon/testkit";
import { decodeOutbound, encodeInbound, partitionOf, sipIn, sipOut } from "@carillon/wire";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  joinCluster,
  startClock,
  startDialogOwner,
  startDueTimes,
  startOwnership,
  startTransactionOwner,
  type ClusterClock,
  type DialogCounted,
  type Membership,
  type Ownership,
} from "./index.ts";

const PARTITIONS = 8;
const LEASE_MS = 600;
const log = { info: (): void => undefined, warn: (): void => undefined, error: (): void => undefined };

let bus: Bus;
let store: MemoryStore;
let clock: ClusterClock;
/** Members that have crashed: nothing that they still do reaches the store. */
const dead = new Set<string>();
const cleanup: (() => void | Promise<void>)[] = [];

beforeEach(async () => {
  bus = inProcessBus({
    onError: (error) => {
      throw error;
    },
  });
  store = memoryStore();
  dead.clear();
  const alive = { ...store };
  store.claim = (role, partitions, member, ttlMs) => (dead.has(member) ? Promise.resolve([]) : alive.claim(role, partitions, member, ttlMs));
  store.renew = (leases, ttlMs) => (leases.some(({ member }) => dead.has(member)) ? Promise.resolve([]) : alive.renew(leases, ttlMs));
  store.release = (leases) => (leases.some(({ member }) => dead.has(member)) ? Promise.resolve() : alive.release(leases));
  clock = await startClock(store, 1_000, () => undefined);
  cleanup.push(() => clock.stop());
});
afterEach(async () => {
  for (const one of cleanup.splice(0).toReversed()) await one();
});

function join(name: string, roles: readonly Role[]): Membership {
  const membership = joinCluster({ bus, self: { name, roles, sinceMs: 0, address: "" }, everyMs: 40, silentAfterMs: 250, settleMs: 50 });
  cleanup.push(() => membership.leave());
  return membership;
}

function own(role: Role, member: string, membership: Membership): Ownership {
  const ownership = startOwnership({ role, member, partitions: PARTITIONS, store, bus, membership, leaseMs: LEASE_MS, everyMs: 30, onError: () => undefined });
  cleanup.push(() => ownership.stop());
  return ownership;
}

describe("ownership", () => {
  test("two members share the partitions; one that leaves hands them over with a note, and nobody holds one twice", async () => {
    const [one, other] = [join("one", ["timer"]), join("other", ["timer"])];
    const first = own("timer", "one", one);
    first.onYield(async (partition) => `note ${partition}`);
    const second = own("timer", "other", other);
    const notes: (string | undefined)[] = [];
    second.onTaken(async (_partition, note) => void notes.push(note));
    await until("a fair share", () => first.held().length === 4 && second.held().length === 4);
    expect(new Set([...first.held(), ...second.held()]).size).toBe(PARTITIONS);
    notes.length = 0;
    const given = first.held();
    one.leave();
    await first.stop();
    await until("the other to have all", () => second.held().length === PARTITIONS);
    expect(new Set(notes)).toEqual(new Set(given.map((partition) => `note ${partition}`)));
  });

  test("a member that falls silent loses its partitions when its leases run out, and owns nothing from then on", async () => {
    const silent = join("silent", ["timer"]);
    const paused = own("timer", "silent", silent);
    await until("all of them", () => paused.held().length === PARTITIONS);
    const lost: number[] = [];
    paused.onLost((partition) => void lost.push(partition));
    const fence = paused.lease(0)!;
    // As after SIGSTOP: it renews nothing.
    dead.add("silent");
    silent.leave();
    const heir = own("timer", "heir", join("heir", ["timer"]));
    await until("the heir", () => heir.held().length === PARTITIONS);
    expect(heir.lease(0)!.epoch).toBeGreaterThan(fence.epoch);
    const outcome = await new Promise((done) => store.commit({ fence, writes: [{ kind: "put", name: "late", ttlMs: 1_000, value: "x" }], done }));
    expect([outcome, await store.value(0, "late")]).toEqual(["refused", undefined]);
  });
});

const identity: Identity = { advertised: [{ transport: "udp", host: "proxy.test", port: 5060 }], names: new Set(["proxy.test"]), ports: new Set([5060]) };
const policy: Policy = { identity, route: builtinRoute(identity, { allows: () => true }), script: undefined, timerCMs: 60_000, dialogKeepMs: 600_000, seed: 1 };

/** A pod with transaction and dialog service; `crash` ends it between a commit and what it was to do afterwards, or at once. */
function pod(name: string, dialogPolicy: DialogPolicy): { crash: () => void; counts: Map<DialogCounted, number>; ends: EndReason[] } {
  const membership = join(name, ["transaction", "dialog", "timer"]);
  const counts = new Map<DialogCounted, number>();
  const ends: EndReason[] = [];
  const ownerships = (["transaction", "dialog", "timer"] as const).map((role) => own(role, name, membership));
  const [transactions, dialogs, timers] = ownerships as [Ownership, Ownership, Ownership];
  const owner = startTransactionOwner({ store, bus, ownership: transactions, clock, policy, log, count: () => undefined });
  const dialogOwner = startDialogOwner({
    store,
    bus,
    ownership: dialogs,
    clock,
    policy: dialogPolicy,
    random: () => 0.5,
    log,
    count: (what) => counts.set(what, (counts.get(what) ?? 0) + 1),
    countEnd: (reason) => ends.push(reason),
  });
  const dueTimes = startDueTimes({ store, bus, ownership: timers, clock, onLag: () => undefined, onError: () => undefined, everyMs: 20, visibilityMs: 300 });
  const stop = (): void => {
    dueTimes.stop();
    owner.stop();
    dialogOwner.stop();
  };
  cleanup.push(stop);
  return {
    counts,
    ends,
    crash: () => {
      // It says goodbye to nobody and gives nothing back.
      dead.add(name);
      membership.leave();
      for (const ownership of ownerships) ownership.lease = () => undefined;
      stop();
    },
  };
}

const quick: DialogPolicy = {
  pingIntervalMs: 60_000,
  pingTimeoutMs: 5_000,
  lifetimeMs: 1_500,
  pingCaller: true,
  pingCallee: true,
  byeOnTimeout: true,
  keepEndedMs: 5_000,
  earlyLimitMs: 60_000,
};

describe("a call across pods", () => {
  const sent: Message[] = [];
  const CALL_ID = "call@test";
  const partition = partitionOf(CALL_ID, PARTITIONS);
  beforeEach(() => {
    sent.length = 0;
    bus.subscribe(sipOut("edge"), ({ payload }) => {
      for (const { text } of decodeOutbound(payload) ?? []) {
        const read = readMessage(text);
        if (read.ok) sent.push(read.value);
      }
    });
  });
  const give = (text: string, host: string): void =>
    bus.publish(
      sipIn(partition),
      encodeInbound({ kind: "message", flow: { transport: "udp", ingress: "edge", connection: "", host, port: 5060 }, receivedAtMs: performance.now(), text }),
    );
  const request = (method: string, cseq: number, toTag?: string): string =>
    writeRequest({
      method,
      requestUri: "sip:bob@10.0.0.2",
      vias: [`SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK${method}`],
      from: "<sip:alice@10.0.0.1>;tag=a",
      to: `<sip:bob@10.0.0.2>${toTag === undefined ? "" : `;tag=${toTag}`}`,
      callId: CALL_ID,
      cseq,
      headers: [["Contact", "<sip:x@10.0.0.1>"]],
    });
  const answer = (to: Message, status: number): string => writeResponse(to, status, { toTag: "b", headers: [["Contact", "<sip:bob@10.0.0.2>"]] });
  const seen = (what: string, wanted: (message: Message) => boolean): Promise<Message> => until(what, () => sent.find(wanted));
  /** Whoever is owner by then: a message in between is lost, and sent again as a phone would. */
  const insist = async (text: string, host: string, what: string, wanted: (message: Message) => boolean): Promise<Message> => {
    const count = sent.length;
    return until(what, () => {
      const found = sent.slice(count).find(wanted);
      if (found === undefined) give(text, host);
      return found;
    });
  };

  test("each step at another pod, each former one crashed: the call is set up, and its lifetime ends it with one BYE to each party", async () => {
    const first = pod("pod-1", quick);
    const invite = await insist(request("INVITE", 1), "10.0.0.1", "INVITE", (message) => message.method === "INVITE" && message.isRequest);
    first.crash();
    const second = pod("pod-2", quick);
    await insist(answer(invite, 180), "10.0.0.2", "180", (message) => message.status === 180);
    second.crash();
    const third = pod("pod-3", quick);
    await insist(answer(invite, 200), "10.0.0.2", "200", (message) => message.status === 200);
    third.crash();
    const fourth = pod("pod-4", quick);
    await insist(request("ACK", 1, "b"), "10.0.0.1", "ACK", (message) => message.method === "ACK");
    const byes = await Promise.all(
      ["a", "b"].map((tag) => seen(`BYE to ${tag}`, (message) => message.isRequest && message.method === "BYE" && message.toTag === tag)),
    );
    for (const bye of byes) give(writeResponse(bye, 200), bye.toTag === "a" ? "10.0.0.1" : "10.0.0.2");
    await until("the end", () => fourth.ends.length > 0);
    expect(fourth.ends).toEqual(["Lifetime Timeout"]);
    const numbers = sent.filter((message) => message.isRequest && message.method === "BYE").map((message) => `${message.toTag} ${message.cseq.number}`);
    expect(new Set(numbers)).toEqual(new Set(["a 1", "b 2"]));
    // A key without an end would be there for ever.
    for (const { key, ttlMs } of store.keys()) expect(ttlMs, key).toBeLessThan(Infinity);
  });

  test("a retransmitted INVITE at a new pod is absorbed: the callee gets the same branch again, never a second call", async () => {
    const first = pod("pod-1", quick);
    const invite = await insist(request("INVITE", 1), "10.0.0.1", "INVITE", (message) => message.method === "INVITE" && message.isRequest);
    first.crash();
    pod("pod-2", quick);
    await insist(request("INVITE", 1), "10.0.0.1", "100", (message) => message.status === 100);
    await until("it to be sent again", () => sent.filter((message) => message.method === "INVITE" && message.isRequest).length > 1);
    expect(new Set(sent.filter((message) => message.method === "INVITE" && message.isRequest).map((message) => message.topVia.branch))).toEqual(
      new Set([invite.topVia.branch]),
    );
  });
});
