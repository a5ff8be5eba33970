export { startClock, type Clock, type ClusterClock } from "./clock.ts";
export { joinCluster, type Member, type MemberRole, type Membership, type MembershipOptions } from "./membership.ts";
export { place } from "./placement.ts";
export { startOwnership, type Ownership, type OwnershipOptions } from "./ownership.ts";
