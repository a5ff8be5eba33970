import type { Bus, Delivery, Subscription } from "@carillon/bus";
import {
  decodeDialog,
  encodeDialog,
  nextDueAtMs,
  stepDialog,
  viewOf,
  type CallCommand,
  type Dialog,
  type DialogAction,
  type DialogEvent,
  type DialogInput,
  type DialogPolicy,
  type DialogStep,
  type EndReason,
  type LegName,
} from "@carillon/dialog";
import type { Store, Write } from "@carillon/store";
import { dialogDo, dialogIn, publicEvent, transactionDo } from "@carillon/wire";
import type { Tracing } from "@carillon/telemetry";
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";
import type { Ownership } from "./ownership.ts";
import { repeat } from "./repeat.ts";

/** What is counted of dialogs; a closed list, each a metric label. */
export type DialogCounted =
  | "early"
  | "confirmed"
  | "pingAsked"
  | "pingAnswered"
  | "byeAsked"
  | "commandRepeated"
  | "envelopeUnknown"
  | "outboxSwept"
  /** The outbox of a partition was read again: something that was told did not come, or could not be written. */
  | "outboxRead"
  | "commitRefused"
  | "commitFailed"
  | "overflow"
  | "bug";

export interface DialogOwnerOptions {
  readonly store: Store;
  readonly bus: Bus;
  readonly ownership: Ownership;
  readonly clock: Clock;
  readonly policy: DialogPolicy;
  readonly random: () => number;
  readonly log: Log;
  readonly count: (what: DialogCounted) => void;
  readonly countEnd: (reason: EndReason) => void;
  readonly tracing?: Tracing | undefined;
  /** Dialogs kept in memory; others are read when something happens to them. */
  readonly maxCached?: number | undefined;
  /** Pause between two looks for what was told and did not come, milliseconds. */
  readonly sweepEveryMs?: number | undefined;
}

export interface DialogOwner {
  stop(): void;
}

/** Sorted set of a partition's dialogs that are not over; the score is when something is due. */
export const TIMERS = "timers";
/** Sorted set of dialogs that are over and still readable; the score is when they ended. */
export const ENDED = "ended";
/** Record of what the transaction service told and the dialog service has not yet taken in. */
export const OUTBOX = "outbox";

export const dialogRecord = (id: string): string => `dialog:${id}`;

interface Entry {
  readonly id: string;
  dialog: Dialog | undefined;
  /** Due time as it stands in the store; NaN if unknown. */
  storedDueAtMs: number;
  changed: boolean;
  dirty: boolean;
  inFlight: number;
  actions: DialogAction[];
  /** Outbox entries taken in since the last commit. */
  taken: string[];
  answers: ((written: boolean) => void)[];
}

/** The last that was told of a partition; `serial` grows by one with each event while the epoch of the transaction service's lease is the same. */
interface Told {
  readonly epoch: string;
  readonly serial: number;
}

interface Owned {
  readonly partition: number;
  readonly subscriptions: Subscription[];
  readonly entries: Map<string, Entry>;
  readonly reading: Map<string, Waiting[]>;
  /** What came while the outbox was being read; undefined while it is not. */
  kept: (() => void)[] | undefined;
  told: Told | undefined;
  /** Something was missed after the reading of the outbox began. */
  again: boolean;
  /** Outbox entries that the last sweep saw. */
  swept: ReadonlySet<string>;
  inFlight: number;
  drained: (() => void) | undefined;
  closed: boolean;
}

interface Waiting {
  readonly input: DialogInput;
  readonly seq: string;
  readonly answer: ((verdict: EndVerdict) => void) | undefined;
}

type EndVerdict = { readonly ok: true } | { readonly ok: false; readonly code: "not-found" | "ended" | "unavailable" };

interface Unanswered {
  readonly partition: number;
  readonly command: CallCommand;
  nextAtMs: number;
  everyMs: number;
  readonly untilMs: number;
}

const SWEEP_EVERY_MS = 5_000;
const REPEAT_EVERY_MS = 500;
const REPEAT_FOR_MS = 10_000;
const MOST_UNANSWERED = 50_000;
const MOST_WAITING = 64;
const MOST_KEPT = 10_000;
const MOST_READING = 10_000;
const FLUSH_LIMIT_MS = 1_000;
const RETRY_AFTER_MS = 250;
const MARGIN_MS = 600_000;

/** The loop of the dialog service: events, due times and commands in; records, commands to the transaction service and public events out. */
export function startDialogOwner(options: DialogOwnerOptions): DialogOwner {
  const { store, bus, ownership, clock, policy, random, log, count, countEnd, tracing } = options;
  const maxCached = options.maxCached ?? 20_000;
  const partitions = new Map<number, Owned>();
  const cached = new Map<Entry, Owned>();
  const unanswered = new Map<string, Unanswered>();
  let dirty = new Map<Entry, Owned>();

  // --- partitions ---

  const take = async (partition: number): Promise<void> => {
    close(partition);
    const owned: Owned = {
      partition,
      subscriptions: [],
      entries: new Map(),
      reading: new Map(),
      kept: [],
      told: undefined,
      again: false,
      swept: new Set(),
      inFlight: 0,
      drained: undefined,
      closed: false,
    };
    partitions.set(partition, owned);
    owned.subscriptions.push(
      bus.subscribe(dialogIn(partition), (delivery) => told(owned, delivery)),
      bus.subscribe(dialogDo(partition), (delivery) => asked(owned, delivery)),
    );
    // What is told before the broker knows of the subscription must be in the outbox that we read.
    await bus.flush(FLUSH_LIMIT_MS).catch((error: unknown) => log.warn({ err: error, partition }, "could not wait for the subscriptions"));
    await catchUp(owned);
  };

  /** Takes in what the outbox holds, then what came meanwhile. */
  const catchUp = async (owned: Owned): Promise<void> => {
    do {
      owned.again = false;
      const outbox = await readOutbox(owned);
      if (owned.closed) return;
      if (outbox !== undefined) replay(owned, [...outbox]);
    } while (owned.again);
    const kept = owned.kept ?? [];
    owned.kept = undefined;
    for (const one of kept) whenReady(owned, one);
  };

  /** Something that was told is missing: takes it from the outbox before anything that was told later. */
  const missed = (owned: Owned): void => {
    owned.again = true;
    if (owned.kept !== undefined || owned.closed) return;
    owned.kept = [];
    count("outboxRead");
    // Not before the commits of this turn are on their way: what they take in needs no reading.
    queueMicrotask(() => {
      catchUp(owned).catch((error: unknown) => {
        count("bug");
        log.error({ err: error, partition: owned.partition }, "could not take in an outbox");
      });
    });
  };

  /** Tries until it succeeds or the partition is no longer ours. */
  const readOutbox = async (owned: Owned): Promise<ReadonlyMap<string, string> | undefined> => {
    while (!owned.closed) {
      try {
        if (ownership.lease(owned.partition) !== undefined) return await store.record(owned.partition, OUTBOX);
      } catch (error) {
        log.warn({ err: error, partition: owned.partition }, "could not read the outbox; trying again");
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS));
    }
    return undefined;
  };

  const close = (partition: number): void => {
    const owned = partitions.get(partition);
    if (owned === undefined) return;
    partitions.delete(partition);
    owned.closed = true;
    for (const subscription of owned.subscriptions) subscription.stop();
    for (const entry of owned.entries.values()) {
      cached.delete(entry);
      dirty.delete(entry);
    }
    for (const queue of owned.reading.values()) for (const { answer } of queue) answer?.({ ok: false, code: "unavailable" });
    for (const [key, one] of unanswered) if (one.partition === partition) unanswered.delete(key);
    owned.drained?.();
  };

  ownership.onTaken(take);
  ownership.onLost(close);
  ownership.onYield(async (partition) => {
    const owned = partitions.get(partition);
    if (owned === undefined) return "";
    for (const subscription of owned.subscriptions) subscription.stop();
    flush();
    if (owned.inFlight > 0) await new Promise<void>((resolve) => (owned.drained = resolve));
    return "";
  });

  const replay = (owned: Owned, entries: readonly (readonly [seq: string, text: string])[]): void => {
    for (const [seq, text] of entries.toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      const event = readEvent(text);
      if (event === undefined) {
        count("envelopeUnknown");
        continue;
      }
      count("outboxSwept");
      handle(owned, event.id, { input: event, seq, answer: undefined }, true);
    }
  };

  /** Brings in what was told and got lost on its way: entries that stood in the outbox at the last sweep already. */
  const sweep = async (): Promise<void> => {
    const mine = [...partitions.values()].filter((owned) => owned.kept === undefined);
    const sizes = await store.recordSizes(
      mine.map(({ partition }) => partition),
      OUTBOX,
    );
    for (const [at, owned] of mine.entries()) {
      if ((sizes[at] ?? 0) === 0) {
        owned.swept = new Set();
        continue;
      }
      const outbox = await store.record(owned.partition, OUTBOX);
      if (owned.closed || outbox === undefined) continue;
      const { swept } = owned;
      owned.swept = new Set(outbox.keys());
      replay(
        owned,
        [...outbox].filter(([seq]) => swept.has(seq)),
      );
    }
  };

  const sweeper = repeat(options.sweepEveryMs ?? SWEEP_EVERY_MS, sweep, (error) => log.warn({ err: error }, "could not sweep the outboxes"));

  // --- what arrives ---

  const whenReady = (owned: Owned, work: () => void): void => {
    if (owned.kept === undefined) work();
    else if (owned.kept.length < MOST_KEPT) owned.kept.push(work);
    else count("overflow");
  };

  const told = (owned: Owned, delivery: Delivery): void => {
    const batch = readTold(delivery.payload);
    if (batch === undefined) return count("envelopeUnknown");
    const { traceparent } = delivery;
    // What is dropped here shows as a gap before what is told next.
    if (ownership.lease(owned.partition) === undefined && owned.kept === undefined) return;
    if (owned.kept !== undefined && owned.kept.length >= MOST_KEPT) return count("overflow");
    if (follow(owned, batch)) missed(owned);
    whenReady(owned, () => {
      for (const { seq, event } of batch) {
        const span =
          traceparent === undefined
            ? undefined
            : tracing?.start(`dialog ${event.kind}`, "consumer", { "messaging.system": "nats", "sip.dialog.id": event.id }, traceparent);
        handle(owned, event.id, { input: event, seq, answer: undefined }, false);
        span?.end();
      }
    });
  };

  const asked = (owned: Owned, delivery: Delivery): void => {
    const request = readAsked(delivery.payload);
    if (request === undefined) return count("envelopeUnknown");
    whenReady(owned, () => {
      if (request.kind === "due") {
        for (const id of request.ids) handle(owned, id, { input: { kind: "time" }, seq: "", answer: undefined }, true);
        return;
      }
      const answer = (verdict: EndVerdict): void => delivery.answer(Buffer.from(JSON.stringify(verdict)));
      handle(owned, request.id, { input: { kind: "end", reason: request.reason }, seq: "", answer }, true);
    });
  };

  /** Notes how far the transaction service has told; true if something before this was not heard. */
  const follow = (owned: Owned, batch: readonly ToldEvent[]): boolean => {
    const before = owned.told;
    const first = batch[0];
    const last = batch.at(-1);
    if (first === undefined || last === undefined) return false;
    const { epoch, serial } = readSeq(first.seq);
    owned.told = readSeq(last.seq);
    return before !== undefined && (epoch !== before.epoch || serial > before.serial + 1);
  };

  /** `mayBeStored`: the dialog may be known to the store though not to us; a first event that comes straight from its call cannot be. */
  const handle = (owned: Owned, id: string, waiting: Waiting, mayBeStored: boolean): void => {
    if (ownership.lease(owned.partition) === undefined) return dropped(owned, waiting);
    const entry = owned.entries.get(id);
    if (entry !== undefined) return apply(owned, entry, waiting);
    const reading = owned.reading.get(id);
    if (reading !== undefined) {
      if (reading.length < MOST_WAITING) reading.push(waiting);
      else {
        count("overflow");
        dropped(owned, waiting);
      }
      return;
    }
    if (!mayBeStored && waiting.input.kind === "early") return apply(owned, place(owned, id, undefined), waiting);
    if (owned.reading.size >= MOST_READING) {
      count("overflow");
      return dropped(owned, waiting);
    }
    const queue = [waiting];
    owned.reading.set(id, queue);
    store
      .value(owned.partition, dialogRecord(id))
      .then((text) => {
        if (owned.closed) return;
        owned.reading.delete(id);
        const dialog = text === undefined ? undefined : readDialog(id, text);
        if (dialog === "unreadable") {
          for (const one of queue) one.answer?.({ ok: false, code: "unavailable" });
          return;
        }
        const read = place(owned, id, dialog);
        for (const one of queue) apply(owned, read, one);
      })
      .catch((error: unknown) => {
        if (owned.closed) return;
        owned.reading.delete(id);
        count("commitFailed");
        log.warn({ err: error, "sip.dialog.id": id }, "could not read a dialog");
        for (const one of queue) dropped(owned, one);
      });
  };

  /** What cannot be taken in now: an event comes again from the outbox, a due time by itself, and who asks is told. */
  const dropped = (owned: Owned, { seq, answer }: Waiting): void => {
    answer?.({ ok: false, code: "unavailable" });
    if (seq !== "") missed(owned);
  };

  const readDialog = (id: string, text: string): Dialog | "unreadable" => {
    try {
      return decodeDialog(text);
    } catch (error) {
      // A newer release wrote it, during an upgrade: one of its pods takes the outbox over.
      count("bug");
      log.error({ err: error, "sip.dialog.id": id }, "left a dialog unread");
      return "unreadable";
    }
  };

  const place = (owned: Owned, id: string, dialog: Dialog | undefined): Entry => {
    const entry: Entry = { id, dialog, storedDueAtMs: Number.NaN, changed: false, dirty: false, inFlight: 0, actions: [], taken: [], answers: [] };
    owned.entries.set(id, entry);
    cached.set(entry, owned);
    if (cached.size > maxCached) evict();
    return entry;
  };

  const evict = (): void => {
    for (const [entry, owned] of cached) {
      if (entry.dirty || entry.inFlight > 0) continue;
      cached.delete(entry);
      owned.entries.delete(entry.id);
      return;
    }
  };

  const apply = (owned: Owned, entry: Entry, waiting: Waiting): void => {
    const { input, seq, answer } = waiting;
    const { id, dialog: before } = entry;
    if (seq !== "") entry.taken.push(seq);
    if (answer !== undefined) {
      if (before === undefined || before.state === "ended" || before.state === "ending") {
        return answer({ ok: false, code: before === undefined ? "not-found" : "ended" });
      }
      entry.answers.push((written) => answer(written ? { ok: true } : { ok: false, code: "unavailable" }));
    }
    const replayed = seq !== "" && before !== undefined && seq <= before.seen;
    if (!replayed) {
      const { next, actions } = stepped(id, before, input);
      entry.dialog = next === undefined || seq === "" ? next : { ...next, seen: seq };
      entry.changed ||= entry.dialog !== before;
      entry.actions.push(...actions);
      if (unanswered.size > 0 && before !== undefined) settle(before, next);
      if (input.kind === "answered" && input.method === "OPTIONS") count("pingAnswered");
    }
    // A due time that comes too early or twice changes nothing, but must be put back where it was taken from.
    if (input.kind === "time") entry.storedDueAtMs = Number.NaN;
    if (entry.changed || entry.taken.length > 0 || input.kind === "time") mark(owned, entry);
  };

  const stepped = (id: string, before: Dialog | undefined, input: DialogInput): DialogStep => {
    try {
      const { next, actions } = stepDialog(before, input, clock.nowMs(), policy, random);
      return { next, actions };
    } catch (error) {
      // A bug, or an event of a newer release: the event goes, the dialog and all others go on.
      count("bug");
      log.error({ err: error, "sip.dialog.id": id, event: input.kind }, "dropped an event: a step threw");
      return { next: before, actions: [] };
    }
  };

  /** Commands that this change has answered, or that came to nothing by it, are not given again. */
  const settle = (before: Dialog, next: Dialog | undefined): void => {
    for (const leg of ["caller", "callee"] as const) if (askedOf(before, leg) !== askedOf(next, leg)) unanswered.delete(`${before.id}|${leg}`);
    if (next?.state !== "early") unanswered.delete(`${before.id}|`);
  };

  // --- write, then act ---

  const mark = (owned: Owned, entry: Entry): void => {
    entry.dirty = true;
    if (dirty.size === 0) queueMicrotask(flush);
    dirty.set(entry, owned);
  };

  const flush = (): void => {
    const batch = dirty;
    dirty = new Map();
    for (const [entry, owned] of batch) write(owned, entry);
  };

  const write = (owned: Owned, entry: Entry): void => {
    entry.dirty = false;
    const { dialog, changed, actions, taken, answers } = entry;
    entry.changed = false;
    entry.actions = [];
    entry.taken = [];
    entry.answers = [];
    const fence = ownership.lease(owned.partition);
    if (owned.closed || fence === undefined) {
      for (const answer of answers) answer(false);
      if (!owned.closed) forget(owned, entry);
      return;
    }
    const writes = writesOf(entry, dialog, changed);
    if (taken.length > 0) writes.push({ kind: "unset", name: OUTBOX, fields: taken });
    if (writes.length === 0) return;
    entry.inFlight++;
    owned.inFlight++;
    store.commit({
      fence,
      writes,
      done: (outcome) => {
        entry.inFlight--;
        owned.inFlight--;
        if (outcome === "written" && ownership.lease(owned.partition) !== undefined) {
          for (const action of actions) if (isWanted(entry.dialog, action)) act(owned, dialog, action);
          const over = entry.dialog === undefined || entry.dialog.state === "ended";
          if (over && entry.inFlight === 0 && !entry.dirty) {
            if (owned.entries.get(entry.id) === entry) owned.entries.delete(entry.id);
            cached.delete(entry);
          }
        } else if (outcome === "refused") {
          count("commitRefused");
          close(owned.partition);
        } else if (outcome === "failed") {
          count("commitFailed");
          if (!owned.closed) forget(owned, entry);
        }
        for (const answer of answers) answer(outcome === "written");
        if (owned.inFlight === 0) owned.drained?.();
      },
    });
  };

  /** Memory may be ahead of the store: reads the dialog again, and the events that were not taken in before those that come now. */
  const forget = (owned: Owned, entry: Entry): void => {
    if (owned.entries.get(entry.id) === entry) owned.entries.delete(entry.id);
    cached.delete(entry);
    missed(owned);
  };

  const writesOf = (entry: Entry, dialog: Dialog | undefined, changed: boolean): Write[] => {
    const nowMs = clock.nowMs();
    const { id } = entry;
    if (dialog === undefined) return Number.isNaN(entry.storedDueAtMs) ? [{ kind: "unscore", name: TIMERS, members: [id] }] : [];
    const writes: Write[] = [];
    if (changed) writes.push({ kind: "put", name: dialogRecord(id), ttlMs: lifeOf(dialog, nowMs), value: encodeDialog(dialog) });
    const dueAtMs = nextDueAtMs(dialog);
    if (dueAtMs === entry.storedDueAtMs) return writes;
    entry.storedDueAtMs = dueAtMs;
    if (dueAtMs !== Infinity) {
      writes.push({ kind: "score", name: TIMERS, ttlMs: Math.max(policy.lifetimeMs, policy.earlyLimitMs) + MARGIN_MS, member: id, score: dueAtMs });
    } else if (dialog.state === "ended") {
      writes.push(
        { kind: "unscore", name: TIMERS, members: [id] },
        { kind: "trim", name: ENDED, maxScore: nowMs - policy.keepEndedMs },
        { kind: "score", name: ENDED, ttlMs: policy.keepEndedMs + MARGIN_MS, member: id, score: dialog.endedAtMs },
      );
    }
    return writes;
  };

  /** How long the record must be readable from now, milliseconds. */
  const lifeOf = (dialog: Dialog, nowMs: number): number => {
    switch (dialog.state) {
      case "early":
        return policy.earlyLimitMs + MARGIN_MS;
      case "confirmed":
        return Math.max(dialog.lifetimeEndsAtMs - nowMs, 0) + MARGIN_MS;
      case "ending":
        return MARGIN_MS;
      case "ended":
        return Math.max(policy.keepEndedMs, 1_000);
    }
  };

  const act = (owned: Owned, dialog: Dialog | undefined, action: DialogAction): void => {
    if (action.kind === "command") {
      command(owned.partition, action.command);
      return;
    }
    if (dialog === undefined) return;
    if (action.what !== "ended") count(action.what);
    else if (dialog.state === "ended" || dialog.state === "ending") countEnd(dialog.endReason);
    bus.publish(publicEvent(`dialog.${action.what}`), Buffer.from(JSON.stringify(viewOf(dialog))));
  };

  const command = (partition: number, asking: CallCommand): void => {
    if (asking.kind === "request") count(asking.method === "BYE" ? "byeAsked" : "pingAsked");
    bus.publish(transactionDo(partition), Buffer.from(JSON.stringify([asking]), "latin1"));
    if (unanswered.size >= MOST_UNANSWERED) return;
    const nowMs = clock.nowMs();
    unanswered.set(`${asking.id}|${asking.kind === "request" ? asking.leg : ""}`, {
      partition,
      command: asking,
      nextAtMs: nowMs + 1_000,
      everyMs: 1_000,
      untilMs: nowMs + REPEAT_FOR_MS,
    });
  };

  /** A transaction pod may have died with the command: say it again soon. Its serial makes a repetition harmless. */
  const repeater = setInterval(() => {
    const nowMs = clock.nowMs();
    for (const [key, one] of unanswered) {
      if (nowMs < one.nextAtMs) continue;
      if (nowMs >= one.untilMs || ownership.lease(one.partition) === undefined) {
        unanswered.delete(key);
        continue;
      }
      one.everyMs *= 2;
      one.nextAtMs = nowMs + one.everyMs;
      count("commandRepeated");
      bus.publish(transactionDo(one.partition), Buffer.from(JSON.stringify([one.command]), "latin1"));
    }
  }, REPEAT_EVERY_MS);

  return {
    stop: () => {
      sweeper.stop();
      clearInterval(repeater);
      for (const partition of partitions.keys()) close(partition);
    },
  };
}

const textOf = (payload: Uint8Array): string => Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("latin1");

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not of ours: the caller counts it.
    return undefined;
  }
}

function readEvent(text: string): DialogEvent | undefined {
  const read = parsed(text);
  return isEvent(read) ? read : undefined;
}

interface ToldEvent {
  /** `<epoch>.<serial>` with leading zeros, so that it sorts as text. */
  readonly seq: string;
  readonly event: DialogEvent;
}

function readTold(payload: Uint8Array): readonly ToldEvent[] | undefined {
  const read = parsed(textOf(payload));
  return Array.isArray(read) && read.every(isTold) ? read : undefined;
}

function isTold(read: unknown): read is ToldEvent {
  return typeof read === "object" && read !== null && "seq" in read && typeof read.seq === "string" && "event" in read && isEvent(read.event);
}

function isEvent(read: unknown): read is DialogEvent {
  return typeof read === "object" && read !== null && "kind" in read && "id" in read && typeof read.id === "string";
}

function readSeq(seq: string): Told {
  const at = seq.indexOf(".");
  return { epoch: seq.slice(0, at), serial: Number(seq.slice(at + 1)) };
}

/** False for a command that came to nothing while it was written down: no ping follows a BYE. */
function isWanted(dialog: Dialog | undefined, action: DialogAction): boolean {
  if (action.kind !== "command") return true;
  const { command } = action;
  return command.kind === "cancel" ? dialog?.state === "early" : askedOf(dialog, command.leg) === command.serial;
}

/** Serial of the command toward a leg that is out; 0 if none is. */
function askedOf(dialog: Dialog | undefined, leg: LegName): number {
  if (dialog?.state !== "confirmed" && dialog?.state !== "ending") return 0;
  const { asked } = dialog[leg];
  return asked.state === "asked" ? asked.serial : 0;
}

type Asked = { readonly kind: "due"; readonly ids: readonly string[] } | { readonly kind: "end"; readonly id: string; readonly reason: EndReason };

function readAsked(payload: Uint8Array): Asked | undefined {
  const read = parsed(textOf(payload));
  if (typeof read !== "object" || read === null || !("kind" in read)) return undefined;
  if (read.kind === "due") return "ids" in read && Array.isArray(read.ids) ? (read as Asked) : undefined;
  return read.kind === "end" && "id" in read && typeof read.id === "string" && "reason" in read ? (read as Asked) : undefined;
}
