import { inProcessBus, type Bus } from "@carillon/bus";
import { decodeDialog, viewOf, type CallCommand, type Dialog, type DialogEvent, type DialogPolicy, type EndReason, type Legs } from "@carillon/dialog";
import { memoryStore, type Commit, type Fence, type MemoryStore, type Outcome, type Store } from "@carillon/store";
import { until } from "@carillon/testkit";
import { dialogDo, dialogIn, transactionDo } from "@carillon/wire";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OUTBOX } from "./dialog-owner.ts";
import { dialogRecord, startDialogOwner, startDueTimes, TIMERS, type DialogCounted, type DialogOwner, type Ownership } from "./index.ts";

const PARTITION = 3;
const ID = "3.a";
const FOR_EVER_MS = 1e9;
const log = { info: (): void => undefined, warn: (): void => undefined, error: (): void => undefined };
const policy: DialogPolicy = {
  pingIntervalMs: 20_000,
  pingTimeoutMs: 4_000,
  lifetimeMs: 50_000,
  pingCaller: true,
  pingCallee: true,
  byeOnTimeout: true,
  keepEndedMs: 600_000,
  earlyLimitMs: 300_000,
};
const leg = (name: string): Legs["caller"] => ({
  address: `<sip:${name}@test>;tag=${name}`,
  tag: name,
  contact: `sip:${name}@192.0.2.1`,
  routeSet: [],
  flow: "",
});
const legs: Legs = { caller: leg("alice"), callee: leg("bob") };

let nowMs: number;
let store: MemoryStore;
let bus: Bus;
/** Commands, in the order in which the transaction service hears them. */
let heard: CallCommand[];
let events: string[];
const clock = { nowMs: (): number => nowMs };
const cleanup: (() => void)[] = [];

beforeEach(() => {
  nowMs = 1_000_000;
  store = memoryStore(clock.nowMs);
  bus = inProcessBus({
    onError: (error) => {
      throw error;
    },
  });
  heard = [];
  events = [];
  bus.subscribe(transactionDo(PARTITION), ({ payload }) => heard.push(...(JSON.parse(Buffer.from(payload).toString("latin1")) as CallCommand[])));
  bus.subscribe("carillon.events.>", ({ subject }) => void events.push(subject.split(".").at(-1) ?? ""));
});
afterEach(() => {
  for (const one of cleanup.splice(0)) one();
});

/** All that follows from what has happened so far, since nothing here waits for a clock. */
const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** The transaction service, as far as the dialog service sees it. */
class Teller {
  #serial = 0;
  readonly #fence: Fence;

  constructor(fence: Fence) {
    this.#fence = fence;
  }

  static async begin(): Promise<Teller> {
    const [lease] = await store.claim("transaction", [PARTITION], "teller", FOR_EVER_MS);
    return new Teller(lease!);
  }

  /** Writes events to the outbox and tells them in one message; where it is lost on the way, only the former. */
  tell(given: readonly DialogEvent[], lost = false): void {
    const told = given.map((event) => ({ seq: `${String(this.#fence.epoch).padStart(10, "0")}.${String(++this.#serial).padStart(12, "0")}`, event }));
    const fields = told.flatMap(({ seq, event }) => [seq, JSON.stringify(event)]);
    store.commit({
      fence: this.#fence,
      writes: [{ kind: "set", name: OUTBOX, ttlMs: FOR_EVER_MS, fields }],
      done: () => {
        if (!lost) bus.publish(dialogIn(PARTITION), Buffer.from(JSON.stringify(told)));
      },
    });
  }

  async up(id = ID): Promise<void> {
    this.tell([early(id)]);
    await settled();
    this.tell([confirmed(id)]);
    await settled();
    this.tell([acknowledged(id)]);
    await settled();
  }
}

const early = (id = ID): DialogEvent => ({ kind: "early", id, callId: `call-${id}`, atMs: nowMs, legs });
const confirmed = (id = ID): DialogEvent => ({ kind: "confirmed", id, callId: `call-${id}`, atMs: nowMs, legs });
const acknowledged = (id = ID): DialogEvent => ({ kind: "acknowledged", id, atMs: nowMs });
const bye = (id = ID): DialogEvent => ({ kind: "bye", id, atMs: nowMs, by: "caller" });
const answered = (command: CallCommand, status: number): DialogEvent => {
  if (command.kind !== "request") throw new Error("not a request");
  return { kind: "answered", id: command.id, atMs: nowMs, leg: command.leg, method: command.method, serial: command.serial, status };
};

interface Pod {
  readonly owner: DialogOwner;
  readonly counts: Map<DialogCounted, number>;
  readonly ends: EndReason[];
  readonly commits: Commit[];
  crash(): Promise<void>;
}

/** A dialog pod that owns the partition. `writing` may stand between it and the store. */
async function pod(name: string, writing: (commit: Commit, write: (commit: Commit) => void) => void = (commit, write) => write(commit)): Promise<Pod> {
  const leases = await store.claim("dialog", [PARTITION], name, FOR_EVER_MS);
  let fence: Fence | undefined = leases[0];
  if (fence === undefined) throw new Error("somebody else has it");
  const taken: Parameters<Ownership["onTaken"]>[0][] = [];
  const lost: ((partition: number) => void)[] = [];
  const counts = new Map<DialogCounted, number>();
  const ends: EndReason[] = [];
  const commits: Commit[] = [];
  const seen: Store = Object.assign(Object.create(store) as Store, {
    commit: (commit: Commit) => {
      commits.push(commit);
      writing(commit, (one) => store.commit(one));
    },
  });
  const owner = startDialogOwner({
    store: seen,
    bus,
    clock,
    policy,
    log,
    ownership: {
      lease: () => fence,
      held: () => (fence === undefined ? [] : [PARTITION]),
      onWanted: () => undefined,
      onTaken: (listener) => taken.push(listener),
      onYield: () => undefined,
      onLost: (listener) => lost.push(listener),
      stop: async () => undefined,
    },
    random: () => 0.5,
    count: (what) => counts.set(what, (counts.get(what) ?? 0) + 1),
    countEnd: (reason) => ends.push(reason),
    maxCached: 4,
    sweepEveryMs: 20,
  });
  cleanup.push(() => owner.stop());
  for (const listener of taken) await listener(PARTITION, undefined);
  return {
    owner,
    counts,
    ends,
    commits,
    crash: async () => {
      fence = undefined;
      for (const listener of lost) listener(PARTITION);
      owner.stop();
      await store.release(leases);
    },
  };
}

async function stored(id = ID): Promise<Dialog | undefined> {
  const text = await store.value(PARTITION, dialogRecord(id));
  return text === undefined ? undefined : decodeDialog(text);
}
const outboxSize = async (): Promise<number> => (await store.recordSizes([PARTITION], OUTBOX))[0] ?? 0;
const due = async (): Promise<number> => (await store.range(PARTITION, TIMERS, -Infinity, Infinity, 0, 1))[0]?.score ?? Infinity;
const say = (ids: readonly string[]): void => bus.publish(dialogDo(PARTITION), Buffer.from(JSON.stringify({ kind: "due", ids })));
const ask = async (id: string): Promise<unknown> =>
  JSON.parse(
    Buffer.from(await bus.request(dialogDo(PARTITION), Buffer.from(JSON.stringify({ kind: "end", id, reason: "MI Termination" })), 5_000)).toString(),
  ) as unknown;
/** The next due time comes. */
async function next(): Promise<void> {
  const [first] = await store.range(PARTITION, TIMERS, -Infinity, Infinity, 0, 1);
  if (first === undefined) throw new Error("nothing is due");
  nowMs = Math.max(nowMs, first.score);
  say([first.member]);
  await settled();
}
const short = (commands: readonly CallCommand[]): readonly string[] =>
  commands.map((command) => (command.kind === "request" ? `${command.method} ${command.leg} ${command.serial}` : "cancel"));

describe("what is told", () => {
  test("in one turn is written once, empties the outbox, and is made public afterwards", async () => {
    const teller = await Teller.begin();
    const { commits, counts } = await pod("one");
    teller.tell([early(), confirmed()]);
    teller.tell([acknowledged()]);
    await settled();
    expect(commits).toHaveLength(1);
    expect([(await stored())?.state, await outboxSize(), events, await due()]).toEqual(["confirmed", 0, ["early", "confirmed"], nowMs + 18_000]);
    expect([counts.get("early"), counts.get("confirmed")]).toEqual([1, 1]);
  });

  test("and lost on its way is taken from the outbox before what came after it", async () => {
    const teller = await Teller.begin();
    await pod("one");
    teller.tell([early()]);
    teller.tell([confirmed()], true);
    teller.tell([acknowledged()]);
    await settled();
    const dialog = await stored();
    expect([dialog?.state, await due(), await outboxSize()]).toEqual(["confirmed", nowMs + 18_000, 0]);
  });

  test("as the last, and lost, is found by looking at the outbox", async () => {
    const teller = await Teller.begin();
    const { counts } = await pod("one");
    await teller.up();
    teller.tell([bye()], true);
    await until("the end", async () => (await stored())?.state === "ended");
    expect([await outboxSize(), counts.get("outboxSwept")]).toEqual([0, 1]);
  });

  test("by two owners of the transaction service, one after the other, is taken in in order", async () => {
    const first = await Teller.begin();
    await pod("one");
    first.tell([early()]);
    first.tell([confirmed()], true);
    await settled();
    await store.release(await store.leases("transaction", [PARTITION]));
    const second = await Teller.begin();
    second.tell([acknowledged()]);
    await settled();
    expect([(await stored())?.state, await due()]).toEqual(["confirmed", nowMs + 18_000]);
  });

  test("twice changes nothing", async () => {
    const teller = await Teller.begin();
    await pod("one");
    await teller.up();
    const before = await store.value(PARTITION, dialogRecord(ID));
    const seq = `${"1".padStart(10, "0")}.${"1".padStart(12, "0")}`;
    bus.publish(dialogIn(PARTITION), Buffer.from(JSON.stringify([{ seq, event: early() }])));
    await settled();
    expect([await store.value(PARTITION, dialogRecord(ID)), events]).toEqual([before, ["early", "confirmed"]]);
  });

  test("of more dialogs than are remembered goes to the right ones", async () => {
    const teller = await Teller.begin();
    await pod("one");
    const ids = Array.from({ length: 20 }, (_, at) => `3.${at}`);
    for (const id of ids) await teller.up(id);
    for (const id of ids) teller.tell([bye(id)]);
    await settled();
    for (const id of ids) expect((await stored(id))?.state, id).toBe("ended");
  });

  test("and is not an event costs nobody anything", async () => {
    const teller = await Teller.begin();
    const { counts } = await pod("one");
    await teller.up();
    for (const junk of ["", "[", "{}", "[1]", '[{"seq":"x"}]', '[{"seq":"1.1","event":{"kind":"bye"}}]']) {
      bus.publish(dialogIn(PARTITION), Buffer.from(junk));
      bus.publish(dialogDo(PARTITION), Buffer.from(junk));
    }
    teller.tell([{ ...bye(), kind: "of a later release" } as unknown as DialogEvent]);
    await settled();
    expect([(await stored())?.state, counts.get("envelopeUnknown"), counts.get("bug"), await outboxSize()]).toEqual(["confirmed", 12, 1, 0]);
  });
});

describe("commands", () => {
  test("wait for the write", async () => {
    const teller = await Teller.begin();
    const held: (() => void)[] = [];
    let hold = false;
    await pod("one", (commit, write) => (hold ? held.push(() => write(commit)) : write(commit)));
    await teller.up();
    hold = true;
    await next();
    expect([held.length, heard]).toEqual([1, []]);
    held[0]?.();
    await settled();
    expect(short(heard)).toEqual(["OPTIONS caller 1", "OPTIONS callee 1"]);
  });

  test("come to nothing where a BYE passes while they are written: no ping follows a BYE", async () => {
    const teller = await Teller.begin();
    const held: (() => void)[] = [];
    let hold = false;
    await pod("one", (commit, write) => (hold ? held.push(() => write(commit)) : write(commit)));
    await teller.up();
    hold = true;
    await next();
    teller.tell([bye()]);
    await settled();
    for (const one of held) one();
    await settled();
    expect([heard, (await stored())?.state]).toEqual([[], "ended"]);
  });

  test("are given again until they are answered, with the same serial", async () => {
    const teller = await Teller.begin();
    const { counts } = await pod("one");
    await teller.up();
    await next();
    teller.tell([answered(heard[0]!, 200)]);
    await settled();
    nowMs += 1_000;
    await until("a repetition", () => heard.length > 2);
    expect(short(heard)).toEqual(["OPTIONS caller 1", "OPTIONS callee 1", "OPTIONS callee 1"]);
    teller.tell([answered(heard[1]!, 200)]);
    await settled();
    nowMs += 2_000;
    expect([counts.get("pingAnswered"), counts.get("commandRepeated")]).toEqual([2, 1]);
  });

  test("a due time that comes too early, or twice, is put back and does nothing", async () => {
    const teller = await Teller.begin();
    await pod("one");
    await teller.up();
    const dueAtMs = await due();
    nowMs = dueAtMs - 1;
    say([ID, ID]);
    await settled();
    expect([heard, await due()]).toEqual([[], dueAtMs]);
    nowMs = dueAtMs;
    say([ID, ID]);
    await settled();
    say([ID]);
    await settled();
    expect(short(heard)).toEqual(["OPTIONS caller 1", "OPTIONS callee 1"]);
  });
});

describe("the end that somebody asks for", () => {
  test("is answered when it is written down; of an unknown dialog, and of one that is over, with what it is", async () => {
    const teller = await Teller.begin();
    await pod("one");
    await teller.up();
    expect(await ask("3.unknown")).toEqual({ ok: false, code: "not-found" });
    expect(await ask(ID)).toEqual({ ok: true });
    expect(short(heard)).toEqual(["BYE caller 1", "BYE callee 1"]);
    expect(await ask(ID)).toEqual({ ok: false, code: "ended" });
    for (const command of heard.slice(0, 2)) teller.tell([answered(command, 200)]);
    await settled();
    expect(await ask(ID)).toEqual({ ok: false, code: "ended" });
    expect(viewOf((await stored())!).endReason).toBe("MI Termination");
    expect(await due()).toBe(Infinity);
  });

  test("of an early dialog is a CANCEL, and BYEs where the 2xx crossed it", async () => {
    const teller = await Teller.begin();
    await pod("one");
    teller.tell([early()]);
    await settled();
    expect(await ask(ID)).toEqual({ ok: true });
    teller.tell([confirmed()]);
    await settled();
    expect(short(heard)).toEqual(["cancel", "BYE caller 1", "BYE callee 1"]);
  });

  test("that could not be written is said to have failed", async () => {
    const teller = await Teller.begin();
    let outcome: Outcome | undefined;
    await pod("one", (commit, write) => (outcome === undefined ? write(commit) : commit.done(outcome)));
    await teller.up();
    outcome = "failed";
    expect(await ask(ID)).toEqual({ ok: false, code: "unavailable" });
    outcome = undefined;
    expect([heard, (await stored())?.state]).toEqual([[], "confirmed"]);
    expect(await ask(ID)).toEqual({ ok: true });
  });
});

describe("the store", () => {
  test("fails a write: what was to be written is taken from the outbox again, in order", async () => {
    const teller = await Teller.begin();
    let fail = false;
    const { counts } = await pod("one", (commit, write) => {
      if (!fail) return write(commit);
      fail = false;
      commit.done("failed");
    });
    teller.tell([early()]);
    await settled();
    fail = true;
    teller.tell([confirmed()]);
    await settled();
    teller.tell([acknowledged()]);
    await settled();
    expect([(await stored())?.state, await due(), await outboxSize()]).toEqual(["confirmed", nowMs + 18_000, 0]);
    expect([counts.get("commitFailed"), counts.get("outboxRead")]).toEqual([1, 1]);
  });

  test("refuses a write: the partition is somebody else's, and nothing is sent", async () => {
    const teller = await Teller.begin();
    const { counts } = await pod("one");
    await teller.up();
    await store.release(await store.leases("dialog", [PARTITION]));
    await next();
    teller.tell([bye()]);
    await settled();
    expect([heard, counts.get("commitRefused"), (await stored())?.state]).toEqual([[], 1, "confirmed"]);
  });
});

// A life of 50 s: pings at 18 and 38 s, the end at 50 s. The pod crashes at each of its writes, after it and before what was to follow; or before it.
describe.each(["after", "before"] as const)("a crash %s each write of a dialog's life", (when) => {
  test.each(Array.from({ length: 9 }, (_, at) => at))("write %i", async (at) => {
    const teller = await Teller.begin();
    const answers = new Set<string>();
    // The transaction service: one request per serial, and its answer.
    bus.subscribe(transactionDo(PARTITION), ({ payload }) => {
      for (const command of JSON.parse(Buffer.from(payload).toString("latin1")) as CallCommand[]) {
        if (command.kind === "request" && !answers.has(short([command])[0]!)) teller.tell([answered(command, 200)]);
        answers.add(short([command])[0]!);
      }
    });
    let written = 0;
    let crashed = false;
    const first = await pod("one", (commit, write) => {
      if (crashed) return;
      if (written++ < at) return write(commit);
      crashed = true;
      if (when === "after") write({ ...commit, done: () => undefined });
    });
    let taken = false;
    const heir = async (): Promise<void> => {
      await settled();
      if (!crashed || taken) return;
      taken = true;
      await first.crash();
      await pod("two");
      await settled();
    };
    for (const event of [early, confirmed, acknowledged]) {
      teller.tell([event()]);
      await heir();
    }
    for (let turn = 0; turn < 60 && (await stored())?.state !== "ended"; turn++) {
      await next();
      await heir();
    }
    expect(taken, "it crashed").toBe(true);
    const dialog = await stored();
    expect([dialog?.state, dialog?.state === "ended" ? dialog.endReason : ""]).toEqual(["ended", "Lifetime Timeout"]);
    // Each at least once, and each BYE under one serial.
    expect([...answers].toSorted()).toEqual(
      ["OPTIONS caller 1", "OPTIONS callee 1", "OPTIONS caller 2", "OPTIONS callee 2", "BYE caller 3", "BYE callee 3"].toSorted(),
    );
    const order = short(heard);
    expect(order.slice(order.findIndex((one) => one.startsWith("BYE"))).some((one) => one.startsWith("OPTIONS"))).toBe(false);
    // Across a crash at most 4 s late.
    expect(nowMs).toBeLessThanOrEqual(1_000_000 + 50_000 + 4_000);
    expect([await outboxSize(), await due()]).toEqual([0, Infinity]);
    for (const { key, ttlMs } of store.keys()) expect(ttlMs, key).toBeLessThan(Infinity);
  });
});

describe("due times", () => {
  const said: string[] = [];
  let fence: Fence;
  let failing = false;
  let looks = 0;
  let errors = 0;
  let lags: number[] = [];
  const start = async (): Promise<void> => {
    said.length = 0;
    [failing, looks, errors, lags] = [false, 0, 0, []];
    fence = (await store.claim("timer", [PARTITION], "timer", FOR_EVER_MS))[0]!;
    const [dialogFence] = await store.claim("dialog", [PARTITION], "writer", FOR_EVER_MS);
    await new Promise((done) =>
      store.commit({ fence: dialogFence!, writes: [{ kind: "score", name: TIMERS, ttlMs: FOR_EVER_MS, member: ID, score: nowMs + 1_000 }], done }),
    );
    bus.subscribe(dialogDo(PARTITION), ({ payload }) => said.push(...(JSON.parse(Buffer.from(payload).toString()) as { ids: string[] }).ids));
    const seen: Store = Object.assign(Object.create(store) as Store, {
      takeDue: (...given: Parameters<Store["takeDue"]>) => {
        looks++;
        return failing ? Promise.reject(new Error("CARILLON_STORE_UNAVAILABLE")) : store.takeDue(...given);
      },
    });
    const loop = startDueTimes({
      store: seen,
      bus,
      clock,
      ownership: {
        lease: () => fence,
        held: () => [PARTITION],
        onWanted: () => undefined,
        onTaken: () => undefined,
        onYield: () => undefined,
        onLost: () => undefined,
        stop: async () => undefined,
      },
      onLag: (lagMs) => lags.push(lagMs),
      onError: () => errors++,
      everyMs: 5,
      visibilityMs: 2_000,
    });
    cleanup.push(() => loop.stop());
  };
  /** Two whole looks: the second began after now. */
  const looked = (): Promise<unknown> => {
    const from = looks;
    return until("a look", () => looks > from + 1);
  };

  test("are said when they are due and not before, and again while nobody moves them on", async () => {
    await start();
    nowMs += 999;
    await looked();
    expect(said).toEqual([]);
    nowMs += 1;
    await looked();
    expect([said, lags]).toEqual([[ID], [0]]);
    nowMs += 1_999;
    await looked();
    expect(said).toEqual([ID]);
    nowMs += 1;
    await looked();
    expect(said).toEqual([ID, ID]);
  });

  test("wait for a store that is away, with longer pauses, and are said within a second when it is back", async () => {
    await start();
    failing = true;
    for (let failure = 1; failure <= 12; failure++) {
      nowMs += 800;
      await until(`failure ${failure}`, () => errors === failure);
    }
    failing = false;
    nowMs += 799;
    const before = looks;
    await new Promise((resolve) => setImmediate(resolve));
    expect(looks).toBe(before);
    nowMs += 1;
    await looked();
    expect(said).toEqual([ID]);
  });
});
