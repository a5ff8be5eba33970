import type { Bus, Delivery, Subscription } from "@carillon/bus";
import type { CallCommand } from "@carillon/dialog";
import {
  callRecord,
  Effects,
  isLive,
  isOver,
  LIVE,
  newCall,
  nextDueAtMs,
  obey,
  readCall,
  receive,
  time,
  undeliverable,
  type Call,
  type Counted,
  type Policy,
  type Sending,
} from "@carillon/proxy";
import { readFaulty, readMessage, writeResponse, type Fault, type Message } from "@carillon/sip";
import type { Fence, Store, Write } from "@carillon/store";
import { decodeInbound, dialogIn, encodeOutbound, sipIn, sipOut, SIP_OUT_ANY, transactionDo, type Flow, type Inbound, type Outbound } from "@carillon/wire";
import type { TraceSpan, Tracing } from "@carillon/telemetry";
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";
import type { Ownership } from "./ownership.ts";
import { TimerWheel, type Sleeper } from "./timer-wheel.ts";

/** What is counted besides the proxy core's own. */
export type OwnerCounted =
  | Counted
  | "received"
  | "sent"
  | "malformed"
  | "envelopeUnknown"
  | "notOwned"
  | "overflow"
  | "commitRefused"
  | "commitFailed"
  | "bug"
  | "unheard";

export interface TransactionOwnerOptions {
  readonly store: Store;
  readonly bus: Bus;
  readonly ownership: Ownership;
  readonly clock: Clock;
  readonly policy: Policy;
  readonly log: Log;
  readonly count: (what: OwnerCounted) => void;
  readonly tracing?: Tracing | undefined;
  /** Calls without a transaction under way that are kept in memory; beyond it the oldest are read from the store again when needed. */
  readonly maxIdleCalls?: number | undefined;
  /** Largest SIP message that is read, bytes. */
  readonly maxMessageBytes?: number | undefined;
}

export interface TransactionOwner {
  /** Calls in memory: with transactions under way, and without. */
  load(): { readonly live: number; readonly idle: number };
  stop(): void;
}

/** A call in memory. */
interface Entry extends Sleeper {
  readonly owned: Owned;
  readonly call: Call;
  /** Commits given to the store and not yet answered. */
  inFlight: number;
  /** What waits for the last of them. */
  tail: Sending[];
  gone: boolean;
  idle: boolean;
}

/** A partition of ours. */
interface Owned {
  readonly partition: number;
  /** waiting: not ours yet, what comes is kept; serving: ours; closing: what comes is left to the next owner. */
  phase: "waiting" | "loading" | "serving" | "closing";
  readonly subscriptions: Subscription[];
  readonly entries: Map<string, Entry>;
  /** Calls being read from the store, and what came for them meanwhile. */
  readonly reading: Map<string, Kept[]>;
  kept: Kept[];
  /** Per ingress the stamp of the last message that was handled: the cut for the next owner. */
  readonly seen: Map<string, number>;
  serial: number;
  inFlight: number;
  drained: (() => void) | undefined;
  trimmedAtMs: number;
}

interface Kept {
  readonly inbound: Inbound | readonly CallCommand[];
  readonly answer: (() => void) | undefined;
  /** Trace context of what sent it; undefined for a call that is not traced. */
  readonly traceparent: string | undefined;
}

/** What one flush publishes to an ingress: one trace context each, in the order of sending. */
interface Batch {
  readonly ingress: string;
  readonly traceparent: string | undefined;
  readonly outbounds: Outbound[];
}

const MOST_KEPT = 10_000;
const MOST_KEPT_PER_CALL = 64;
const READ_AT_ONCE = 500;
const TRIM_EVERY_MS = 10_000;
const OUTBOX_TTL_MS = 3_600_000;
const LIVE_TTL_MS = 3_600_000;
const ANSWER = Buffer.from([1]);

/** The loop of the transaction service: for each message load or find the call, step, write (fenced), and only then act. */
export function startTransactionOwner(options: TransactionOwnerOptions): TransactionOwner {
  const { store, bus, ownership, clock, policy, log, count, tracing } = options;
  const maxIdle = options.maxIdleCalls ?? 200_000;
  const limits = { maxBytes: options.maxMessageBytes ?? 65_536 };
  const partitions = new Map<number, Owned>();
  const idle = new Map<string, Entry>();
  let out: Batch[] = [];
  let lastOf = new Map<string, Batch>();
  let flushing = false;

  const wheel = new TimerWheel<Entry>(
    () => clock.nowMs(),
    (entry) => {
      if (!entry.gone) step(entry, (fx, nowMs) => time(entry.call, nowMs, policy, fx), undefined);
    },
  );

  const open = (partition: number): Owned => {
    const known = partitions.get(partition);
    if (known !== undefined) return known;
    const owned: Owned = {
      partition,
      phase: "waiting",
      subscriptions: [],
      entries: new Map(),
      reading: new Map(),
      kept: [],
      seen: new Map(),
      serial: 0,
      inFlight: 0,
      drained: undefined,
      trimmedAtMs: 0,
    };
    partitions.set(partition, owned);
    owned.subscriptions.push(
      bus.subscribe(sipIn(partition), (delivery) => arrived(owned, delivery)),
      bus.subscribe(transactionDo(partition), (delivery) => commanded(owned, delivery)),
    );
    return owned;
  };

  const close = (partition: number): void => {
    const owned = partitions.get(partition);
    if (owned === undefined) return;
    partitions.delete(partition);
    owned.phase = "closing";
    for (const subscription of owned.subscriptions) subscription.stop();
    for (const entry of owned.entries.values()) forget(entry);
    owned.entries.clear();
    owned.drained?.();
  };

  /** Nothing is under way any more that a hand-over would wait for. */
  const settled = (owned: Owned): void => {
    if (owned.inFlight === 0 && owned.reading.size === 0) owned.drained?.();
  };

  const forget = (entry: Entry): void => {
    entry.gone = true;
    entry.dueAtMs = Infinity;
    if (entry.idle) idle.delete(entry.call.callId);
  };

  // --- taking over ---

  const take = async (partition: number, note: string | undefined): Promise<void> => {
    const owned = open(partition);
    owned.phase = "loading";
    const taken = await readLive(owned);
    if (partitions.get(partition) !== owned) return;
    for (const call of taken) place(owned, call);
    owned.phase = "serving";
    const cut = readNote(note);
    const { kept } = owned;
    owned.kept = [];
    for (const one of kept) {
      if ("kind" in one.inbound && one.inbound.kind === "message" && one.inbound.receivedAtMs <= (cut.get(one.inbound.flow.ingress) ?? -Infinity)) {
        one.answer?.();
        continue;
      }
      serve(owned, one);
    }
    if (taken.length > 0) log.info({ partition, calls: taken.length }, "took over live calls");
  };

  const readLive = async (owned: Owned): Promise<readonly Call[]> => {
    const { partition } = owned;
    const calls: Call[] = [];
    const nowMs = clock.nowMs();
    for (let offset = 0; ; offset += READ_AT_ONCE) {
      const live = await store.range(partition, LIVE, nowMs, Infinity, offset, READ_AT_ONCE);
      const records = await store.records(
        partition,
        live.map(({ member }) => callRecord(member)),
      );
      for (const [at, record] of records.entries()) {
        const callId = live[at]?.member;
        if (callId === undefined || record === undefined) continue;
        try {
          calls.push(readCall(callId, partition, record));
        } catch (error) {
          count("bug");
          log.error({ err: error, "sip.call_id": callId }, "left a call's record unread");
        }
      }
      if (live.length < READ_AT_ONCE) return calls;
    }
  };

  /** Reads a partition again after the store failed a write: memory may be ahead of it. */
  const retake = (owned: Owned): void => {
    if (owned.phase !== "serving") return;
    owned.phase = "loading";
    for (const entry of owned.entries.values()) forget(entry);
    owned.entries.clear();
    const again = (): void => {
      if (partitions.get(owned.partition) !== owned) return;
      take(owned.partition, undefined).catch((error: unknown) => {
        log.warn({ err: error, partition: owned.partition }, "could not read a partition again; trying on");
        setTimeout(again, 500);
      });
    };
    again();
  };

  ownership.onWanted((partition) => {
    open(partition);
  });
  ownership.onTaken(async (partition, note) => {
    for (;;) {
      try {
        await take(partition, note);
        return;
      } catch (error) {
        if (ownership.lease(partition) === undefined) return;
        log.warn({ err: error, partition }, "could not read a partition; trying again");
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    }
  });
  ownership.onLost(close);
  ownership.onYield(async (partition) => {
    const owned = partitions.get(partition);
    if (owned === undefined) return "";
    owned.phase = "closing";
    for (const subscription of owned.subscriptions) subscription.stop();
    if (owned.inFlight > 0 || owned.reading.size > 0) await new Promise<void>((resolve) => (owned.drained = resolve));
    flush();
    return JSON.stringify([...owned.seen]);
  });

  // --- what arrives ---

  const arrived = (owned: Owned, delivery: Delivery): void => {
    const inbound = decodeInbound(delivery.payload);
    if (inbound === undefined) return count("envelopeUnknown");
    const answer = delivery.wantsAnswer ? () => delivery.answer(ANSWER) : undefined;
    accept(owned, { inbound, answer, traceparent: delivery.traceparent });
  };

  const commanded = (owned: Owned, delivery: Delivery): void => {
    const commands = readCommands(delivery.payload);
    if (commands === undefined) return count("envelopeUnknown");
    accept(owned, { inbound: commands, answer: undefined, traceparent: delivery.traceparent });
  };

  const accept = (owned: Owned, one: Kept): void => {
    if (owned.phase === "serving") return serve(owned, one);
    if (owned.phase === "closing" || owned.kept.length >= MOST_KEPT) return count("overflow");
    owned.kept.push(one);
  };

  const serve = (owned: Owned, one: Kept): void => {
    if (ownership.lease(owned.partition) === undefined) return count("notOwned");
    const { inbound, answer } = one;
    if (!("kind" in inbound)) {
      for (const command of inbound)
        withCall(owned, command.callId, true, { inbound: [command], answer, traceparent: one.traceparent }, (entry) =>
          carryOut(entry, command, one.traceparent),
        );
      return;
    }
    if (inbound.kind === "undeliverable") {
      withCall(owned, inbound.callId, true, one, (entry) =>
        step(entry, (fx, nowMs) => undeliverable(entry.call, inbound.branch, inbound.method, nowMs, policy, fx), answer),
      );
      return;
    }
    count("received");
    owned.seen.set(inbound.flow.ingress, inbound.receivedAtMs);
    const read = readMessage(inbound.text, limits);
    if (!read.ok) {
      malformed(inbound.text, inbound.flow, read.fault);
      answer?.();
      return;
    }
    const message = read.value;
    // A request without a To tag begins something; all else belongs to what may be in the store.
    const known = !message.isRequest || message.toTag !== "";
    withCall(owned, message.callId, known, one, (entry) =>
      step(entry, (fx, nowMs) => receive(entry.call, message, inbound.flow, nowMs, policy, fx), answer, messageSpan(message, one.traceparent)),
    );
  };

  const carryOut = (entry: Entry, command: CallCommand, traceparent: string | undefined): void =>
    step(entry, (fx, nowMs) => obey(entry.call, command, nowMs, policy, fx), undefined, spanOf(`command ${command.kind}`, command.callId, traceparent));

  /** A span for the work on one message; undefined, and nothing made, for a call that is not traced. */
  const spanOf = (name: string, callId: string, traceparent: string | undefined): TraceSpan | undefined =>
    traceparent === undefined ? undefined : tracing?.start(name, "consumer", { "messaging.system": "nats", "sip.call_id": callId }, traceparent);

  /** Finds the call, reads it where it may be in the store, or begins it. What comes for a call that is being read waits its turn. */
  const withCall = (owned: Owned, callId: string, mayBeStored: boolean, one: Kept, handle: (entry: Entry) => void): void => {
    const entry = owned.entries.get(callId);
    if (entry !== undefined) return handle(entry);
    const reading = owned.reading.get(callId);
    if (reading !== undefined) {
      if (reading.length < MOST_KEPT_PER_CALL) reading.push(one);
      else count("overflow");
      return;
    }
    if (!mayBeStored) return handle(place(owned, newCall(plain(callId), owned.partition)));
    if (owned.reading.size >= MOST_KEPT) return count("overflow");
    const waiting = [one];
    owned.reading.set(callId, waiting);
    store
      .record(owned.partition, callRecord(callId))
      .then((record) => {
        owned.reading.delete(callId);
        if (partitions.get(owned.partition) !== owned || ownership.lease(owned.partition) === undefined) return;
        if (owned.phase === "loading") {
          for (const next of waiting) accept(owned, next);
          return;
        }
        place(owned, record === undefined ? newCall(plain(callId), owned.partition) : readCall(plain(callId), owned.partition, record));
        for (const next of waiting) serve(owned, next);
        settled(owned);
      })
      .catch((error: unknown) => {
        // The endpoints send again what was lost here; a reliable peer's ingress does.
        owned.reading.delete(callId);
        count("commitFailed");
        log.warn({ err: error, "sip.call_id": callId }, "could not read a call");
        settled(owned);
      });
  };

  const place = (owned: Owned, call: Call): Entry => {
    const entry: Entry = { owned, call, inFlight: 0, tail: [], gone: false, idle: false, dueAtMs: nextDueAtMs(call), armedAtMs: Infinity };
    owned.entries.set(call.callId, entry);
    wheel.arm(entry);
    return entry;
  };

  const messageSpan = (message: Message, traceparent: string | undefined): TraceSpan | undefined => {
    const span = spanOf(`transaction ${message.isRequest ? message.method : message.status}`, message.callId, traceparent);
    if (span === undefined) return undefined;
    span.set("sip.method", message.method);
    span.set("sip.cseq", message.cseq.number);
    span.set("sip.branch", message.topVia.branch);
    if (!message.isRequest) span.set("sip.status_code", message.status);
    return span;
  };

  /** A message that cannot be read as SIP: a request that tells where it came from is answered, without a transaction. */
  const malformed = (text: string, flow: Flow, fault: Fault): void => {
    count("malformed");
    const request = readFaulty(text);
    if (request === undefined || !request.isRequest || request.method === "ACK") return;
    const rport = request.topVia.rport !== undefined;
    const hop = {
      transport: flow.transport,
      ingress: flow.ingress,
      connection: flow.connection,
      host: flow.host,
      port: rport ? flow.port : (request.topVia.port ?? 5060),
    };
    send({ hop, callId: "", branch: "", method: "", text: writeResponse(request, fault.status) });
  };

  // --- step, write, act ---

  const step = (entry: Entry, change: (fx: Effects, nowMs: number) => void, answer: (() => void) | undefined, span?: TraceSpan): void => {
    const { owned, call } = entry;
    const fence = ownership.lease(owned.partition);
    if (fence === undefined) return count("notOwned");
    const nowMs = clock.nowMs();
    const fx = new Effects();
    try {
      change(fx, nowMs);
    } catch (error) {
      // A bug of ours, met once: the call goes, the pod and all other calls go on.
      count("bug");
      log.error({ err: error, "sip.call_id": call.callId, trace_id: span?.traceId }, "dropped a call: a step threw");
      span?.fail("a step threw");
      span?.end();
      forget(entry);
      owned.entries.delete(call.callId);
      return;
    }
    for (const what of fx.counted) count(what);
    if (fx.writes) write(entry, fence, fx, nowMs, answer, span);
    else {
      if (entry.inFlight > 0) entry.tail.push(...fx.sendings);
      else for (const sending of fx.sendings) send(sending, span?.traceparent);
      answer?.();
      span?.end();
    }
    rest(entry);
  };

  /** Arms the call's timer, or lays it aside when nothing is under way. */
  const rest = (entry: Entry): void => {
    const { owned, call } = entry;
    entry.dueAtMs = nextDueAtMs(call);
    if (isLive(call)) {
      if (entry.idle) {
        entry.idle = false;
        idle.delete(call.callId);
      }
      wheel.arm(entry);
      return;
    }
    if (isOver(call)) {
      forget(entry);
      owned.entries.delete(call.callId);
      return;
    }
    if (!entry.idle) {
      entry.idle = true;
      // Texts cut from messages would keep the whole messages in memory.
      for (const [id, path] of call.paths) call.paths.set(plain(id), plainCopy(path));
    }
    idle.delete(call.callId);
    idle.set(call.callId, entry);
    if (idle.size <= maxIdle) return;
    for (const oldest of idle.values()) {
      if (oldest.inFlight > 0) continue;
      forget(oldest);
      oldest.owned.entries.delete(oldest.call.callId);
      break;
    }
  };

  const write = (entry: Entry, fence: Fence, fx: Effects, nowMs: number, answer: (() => void) | undefined, span: TraceSpan | undefined): void => {
    const { owned, call } = entry;
    const name = callRecord(call.callId);
    const writes: Write[] = [];
    const { fields, removed, events, sendings } = fx;
    if (fields.length > 0) writes.push({ kind: "set", name, ttlMs: Math.max(fx.keepUntilMs - nowMs, 120_000), fields });
    if (removed.length > 0) writes.push({ kind: "unset", name, fields: removed });
    if (fx.expireAtMs > 0) writes.push({ kind: "expire", name, ttlMs: fx.expireAtMs - nowMs });
    if (fx.liveUntilMs > 0) writes.push({ kind: "score", name: LIVE, ttlMs: LIVE_TTL_MS, member: call.callId, score: fx.liveUntilMs });
    if (nowMs - owned.trimmedAtMs > TRIM_EVERY_MS) {
      owned.trimmedAtMs = nowMs;
      writes.push({ kind: "trim", name: LIVE, maxScore: nowMs });
    }
    let telling: string | undefined;
    if (events.length > 0) {
      const outbox: string[] = [];
      const told: string[] = [];
      for (const event of events) {
        const seq = `${String(fence.epoch).padStart(10, "0")}.${String(++owned.serial).padStart(12, "0")}`;
        const text = JSON.stringify(event);
        outbox.push(seq, text);
        told.push(`{"seq":"${seq}","event":${text}}`);
      }
      writes.push({ kind: "set", name: "outbox", ttlMs: OUTBOX_TTL_MS, fields: outbox });
      telling = `[${told.join(",")}]`;
    }
    entry.inFlight++;
    entry.tail = sendings;
    owned.inFlight++;
    store.commit({
      fence,
      writes,
      done: (outcome) => {
        entry.inFlight--;
        owned.inFlight--;
        if (outcome === "written" && (ownership.lease(owned.partition) !== undefined || owned.phase === "closing")) {
          for (const sending of sendings) send(sending, span?.traceparent);
          if (telling !== undefined)
            bus.publish(dialogIn(owned.partition), Buffer.from(telling, "latin1"), span === undefined ? undefined : { traceparent: span.traceparent });
          answer?.();
        } else if (outcome === "refused") {
          count("commitRefused");
          close(owned.partition);
        } else if (outcome === "failed") {
          count("commitFailed");
          retake(owned);
        }
        if (outcome !== "written") span?.fail(`commit ${outcome}`);
        span?.end();
        settled(owned);
      },
    });
  };

  // --- sending: gathered for each ingress, and published when the turn ends ---

  const send = (sending: Sending, traceparent?: string): void => {
    const { hop, callId, branch, method, text } = sending;
    const { ingress } = hop;
    count("sent");
    const outbound: Outbound = { transport: hop.transport, connection: hop.connection, host: hop.host, port: hop.port, callId, branch, method, text };
    const last = lastOf.get(ingress);
    if (last !== undefined && last.traceparent === traceparent) last.outbounds.push(outbound);
    else {
      const batch: Batch = { ingress, traceparent, outbounds: [outbound] };
      lastOf.set(ingress, batch);
      out.push(batch);
    }
    if (flushing) return;
    flushing = true;
    queueMicrotask(flush);
  };

  const flush = (): void => {
    flushing = false;
    const batches = out;
    out = [];
    lastOf = new Map();
    for (const { ingress, traceparent, outbounds } of batches) {
      const payload = encodeOutbound(outbounds);
      if (ingress === "") {
        bus.publish(SIP_OUT_ANY, payload, { traceparent });
        continue;
      }
      bus.publish(sipOut(ingress), payload, {
        traceparent,
        onUnheard: () => {
          count("unheard");
          bus.publish(SIP_OUT_ANY, payload, { traceparent });
        },
      });
    }
  };

  return {
    load: () => {
      let entries = 0;
      for (const owned of partitions.values()) entries += owned.entries.size;
      return { live: entries - idle.size, idle: idle.size };
    },
    stop: () => {
      wheel.stop();
      for (const partition of partitions.keys()) close(partition);
    },
  };
}

/** The text without the message that it was cut from. */
const plain = (text: string): string => plainCopy(text);

function plainCopy<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

function readNote(note: string | undefined): ReadonlyMap<string, number> {
  if (note === undefined || note === "") return new Map();
  try {
    return new Map(JSON.parse(note) as [string, number][]);
  } catch {
    // A former owner of another release: without the cut, what both received is absorbed as a retransmission.
    return new Map();
  }
}

function readCommands(payload: Uint8Array): readonly CallCommand[] | undefined {
  try {
    const read: unknown = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("latin1"));
    return Array.isArray(read) ? (read as CallCommand[]) : undefined;
  } catch {
    return undefined;
  }
}
