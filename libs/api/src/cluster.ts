import type { StatefulPod } from "@carillon/cluster";
import type { Role } from "@carillon/store";

const ROLES: readonly Role[] = ["transaction", "dialog", "timer"];

export interface ClusterView {
  readonly partitions: number;
  readonly members: readonly {
    readonly name: string;
    readonly roles: readonly string[];
    readonly since: string;
    readonly partitions: Readonly<Record<string, number>>;
  }[];
  /** Per role: the owner of each partition, null where it has none at this moment. */
  readonly owners: Readonly<Record<string, readonly (string | null)[]>>;
}

/** Who is there (as this process hears it) and who owns what (as the store has it). */
export async function clusterView({ store, membership, config }: StatefulPod): Promise<ClusterView> {
  const { partitions } = config.cluster;
  const all = Array.from({ length: partitions }, (_one, at) => at);
  const owners: Record<string, (string | null)[]> = {};
  for (const role of ROLES) {
    const row: (string | null)[] = all.map(() => null);
    for (const lease of await store.leases(role, all)) row[lease.partition] = lease.member;
    owners[role] = row;
  }
  const members = membership.members().map(({ name, roles, sinceMs }) => ({
    name,
    roles,
    since: new Date(sinceMs).toISOString(),
    partitions: Object.fromEntries(
      ROLES.filter((role) => roles.includes(role)).map((role) => [role, owners[role]?.filter((owner) => owner === name).length ?? 0]),
    ),
  }));
  return { partitions, members, owners };
}
