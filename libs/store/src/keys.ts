import type { Role } from "./store.ts";

/** All keys of a partition share a slot of a Redis Cluster. */
export const prefixOf = (partition: number): string => `carillon:{${partition}}:`;

/** Name of the lease of a role within a partition. */
export const leaseName = (role: Role): string => `lease:${role}`;

export const leaseValue = (member: string, epoch: number): string => `${member}:${epoch}`;

/** Undefined where the text is not a lease. */
export function readLeaseValue(text: string): { readonly member: string; readonly epoch: number } | undefined {
  const colon = text.lastIndexOf(":");
  const epoch = Number(text.slice(colon + 1));
  return colon > 0 && Number.isInteger(epoch) ? { member: text.slice(0, colon), epoch } : undefined;
}
