import type { Listen } from "@carillon/config";
import type { DialogPolicy, EndReason } from "@carillon/dialog";
import type { Role } from "@carillon/store";
import { startClock, type ClusterClock } from "./clock.ts";
import { startDialogOwner, type DialogCounted } from "./dialog-owner.ts";
import { startDueTimes } from "./due-times.ts";
import { policyOf } from "./identity.ts";
import { startOwnership, type Ownership } from "./ownership.ts";
import type { StatefulPod } from "./pod.ts";
import { startTransactionOwner, type OwnerCounted } from "./transaction-owner.ts";

const FOLLOW_EVERY_MS = 5_000;
/** Longer than any INVITE transaction, whatever timer C is: milliseconds on top of it. */
const EARLY_MARGIN_MS = 120_000;

/** The cluster's clock for this process. */
export async function podClock(pod: StatefulPod): Promise<ClusterClock> {
  const clock = await startClock(pod.store, FOLLOW_EVERY_MS, (error) => pod.log.warn({ err: error }, "could not ask the store for its time"));
  pod.onStop(() => clock.stop());
  return clock;
}

function own(pod: StatefulPod, role: Role): Ownership {
  const { store, bus, membership, member, config, log, metrics } = pod;
  const ownership = startOwnership({
    role,
    member,
    partitions: config.cluster.partitions,
    store,
    bus,
    membership,
    leaseMs: config.cluster.leaseMs,
    onError: (error) => log.warn({ err: error, role }, "partitions"),
  });
  metrics.gauge(`carillon_${role}_partitions`, `Partitions that this process owns as ${role}.`, () => ownership.held().length);
  return ownership;
}

/** The transaction service. `listening`: where SIP is listened for, if this process knows better than the configuration. */
export async function startTransaction(pod: StatefulPod, listening?: readonly Listen[]): Promise<void> {
  const { store, bus, config, log, metrics } = pod;
  const clock = await podClock(pod);
  const policy = policyOf(config, listening);
  const ownership = own(pod, "transaction");
  const owner = startTransactionOwner({
    store,
    bus,
    ownership,
    clock,
    policy,
    log,
    count: metrics.counter<OwnerCounted>("carillon_transaction_events_total", "What happened to messages and calls.", "event"),
    maxMessageBytes: config.sip.maxMessageBytes,
    tracing: pod.tracing,
  });
  metrics.gauge("carillon_transaction_calls", "Calls with a transaction under way that this process owns.", () => owner.load().live);
  metrics.gauge("carillon_transaction_idle_calls", "Calls without a transaction under way that this process remembers.", () => owner.load().idle);
  pod.onStop(async () => {
    pod.membership.leave();
    await ownership.stop();
    owner.stop();
  });
}

/** The dialog service. */
export async function startDialog(pod: StatefulPod): Promise<void> {
  const { store, bus, config, log, metrics } = pod;
  const clock = await podClock(pod);
  const ownership = own(pod, "dialog");
  const { dialog, sip } = config;
  const policy: DialogPolicy = {
    pingIntervalMs: dialog.pingIntervalMs,
    pingTimeoutMs: dialog.pingTimeoutMs,
    lifetimeMs: dialog.timeoutMs,
    pingCaller: dialog.pings === "both" || dialog.pings === "caller",
    pingCallee: dialog.pings === "both" || dialog.pings === "callee",
    byeOnTimeout: dialog.byeOnTimeout,
    keepEndedMs: dialog.keepEndedMs,
    earlyLimitMs: sip.timerCMs + EARLY_MARGIN_MS,
  };
  const owner = startDialogOwner({
    store,
    bus,
    ownership,
    clock,
    policy,
    random: Math.random,
    log,
    count: metrics.counter<DialogCounted>("carillon_dialog_events_total", "What happened to dialogs.", "event"),
    tracing: pod.tracing,
    countEnd: metrics.counter<EndReason>("carillon_dialogs_ended_total", "Dialogs that ended, by reason.", "reason"),
  });
  pod.onStop(async () => {
    pod.membership.leave();
    await ownership.stop();
    owner.stop();
  });
}

const LAG_BUCKETS_SECONDS = [0.05, 0.1, 0.2, 0.5, 1, 2, 4, 10];

/** The timer service. */
export async function startTimer(pod: StatefulPod): Promise<void> {
  const { store, bus, log, metrics } = pod;
  const clock = await podClock(pod);
  const ownership = own(pod, "timer");
  const lag = metrics.histogram("carillon_timer_lag_seconds", "How late a due time was said to be due.", LAG_BUCKETS_SECONDS);
  const loop = startDueTimes({
    store,
    bus,
    ownership,
    clock,
    onLag: (lagMs) => lag(lagMs / 1_000),
    onError: (error) => log.warn({ err: error }, "due times"),
  });
  pod.onStop(async () => {
    loop.stop();
    pod.membership.leave();
    await ownership.stop();
  });
}
