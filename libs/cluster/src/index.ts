export { startClock, type Clock, type ClusterClock } from "./clock.ts";
export type { Log } from "./log.ts";
export { joinCluster, type Member, type MemberRole, type Membership, type MembershipOptions } from "./membership.ts";
export { place } from "./placement.ts";
export { startOwnership, type Ownership, type OwnershipOptions } from "./ownership.ts";
export { TimerWheel, type Sleeper } from "./timer-wheel.ts";
export { startTransactionOwner, type OwnerCounted, type TransactionOwner, type TransactionOwnerOptions } from "./transaction-owner.ts";
export { dialogRecord, ENDED, startDialogOwner, TIMERS, type DialogCounted, type DialogOwner, type DialogOwnerOptions } from "./dialog-owner.ts";
export { startDueTimes, type DueTimesOptions } from "./due-times.ts";
