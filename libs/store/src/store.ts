/** Roles share the partitions of the cluster independently of one another. */
export type Role = "transaction" | "dialog" | "timer";

/**
 * The right to write in a partition. A commit whose fence is not the partition's present lease is refused as a whole.
 * `epoch` grows at every change of owner.
 */
export interface Fence {
  readonly role: Role;
  readonly partition: number;
  readonly member: string;
  readonly epoch: number;
}

/**
 * One write. `name` is the part of the key after `carillon:{<partition>}:`; every write gives the key's time to live in milliseconds,
 * which only ever prolongs (`put` and `expire` set it exactly).
 */
export type Write =
  /** Sets fields of a record (Redis hash). `fields` is name, value, name, value, … */
  | { readonly kind: "set"; readonly name: string; readonly ttlMs: number; readonly fields: readonly string[] }
  | { readonly kind: "unset"; readonly name: string; readonly fields: readonly string[] }
  /** Sets a plain value (Redis string). */
  | { readonly kind: "put"; readonly name: string; readonly ttlMs: number; readonly value: string }
  | { readonly kind: "expire"; readonly name: string; readonly ttlMs: number }
  | { readonly kind: "delete"; readonly name: string }
  /** Puts a member into a sorted set, or moves it. */
  | { readonly kind: "score"; readonly name: string; readonly ttlMs: number; readonly member: string; readonly score: number }
  | { readonly kind: "unscore"; readonly name: string; readonly members: readonly string[] }
  /** Drops members of a sorted set with a score up to and including `maxScore`. */
  | { readonly kind: "trim"; readonly name: string; readonly maxScore: number };

export type Outcome =
  | "written"
  /** The lease is not ours (any more): nothing of this commit was written, and nothing will be. */
  | "refused"
  /** Redis did not take it within the store's time limit: it may or may not be written. */
  | "failed";

export interface Commit {
  readonly fence: Fence;
  readonly writes: readonly Write[];
  /** Called once. Commits of one partition are written and called back in the order in which they were given. */
  readonly done: (outcome: Outcome) => void;
}

export interface Scored {
  readonly member: string;
  readonly score: number;
}

export interface Lease {
  readonly partition: number;
  readonly role: Role;
  readonly member: string;
  readonly epoch: number;
}

export type StoreStatus = "connected" | "reconnecting" | "closed";

/**
 * The door to Redis: call records, dialogs, due times, leases. Text values are latin1-safe strings of any length (stored as bytes of latin1).
 * Every promise settles within the store's time limit (default 2 s); it rejects with `CARILLON_STORE_UNAVAILABLE`.
 */
export interface Store {
  readonly status: StoreStatus;
  onStatus(listener: (status: StoreStatus) => void): { stop(): void };

  /** Milliseconds since the epoch on the store's own clock (Redis TIME): the cluster's clock. */
  nowMs(): Promise<number>;

  /** Takes free or expired leases, and those that `member` already holds. Answers with those that it now holds; the others are somebody else's. */
  claim(role: Role, partitions: readonly number[], member: string, ttlMs: number): Promise<readonly Lease[]>;
  /** Prolongs leases. Answers with the partitions that were not ours any more. */
  renew(leases: readonly Lease[], ttlMs: number): Promise<readonly number[]>;
  /** Gives leases back, where they are still ours. */
  release(leases: readonly Lease[]): Promise<void>;
  /** Who holds what; partitions without an owner are absent. */
  leases(role: Role, partitions: readonly number[]): Promise<readonly Lease[]>;

  /** Gathers: all commits of one turn of the event loop go in one flush. No promise per commit. */
  commit(commit: Commit): void;

  /** All fields of a record; undefined if there is none. */
  record(partition: number, name: string): Promise<ReadonlyMap<string, string> | undefined>;
  /** Several records in one round trip, in order. */
  records(partition: number, names: readonly string[]): Promise<readonly (ReadonlyMap<string, string> | undefined)[]>;
  value(partition: number, name: string): Promise<string | undefined>;
  values(partition: number, names: readonly string[]): Promise<readonly (string | undefined)[]>;
  /** Members of a sorted set with `minScore <= score <= maxScore`, lowest first. */
  range(partition: number, name: string, minScore: number, maxScore: number, offset: number, limit: number): Promise<readonly Scored[]>;
  /** Sizes of a sorted set over several partitions. */
  sizes(partitions: readonly number[], name: string): Promise<readonly number[]>;
  /** Sizes of a record (number of fields) over several partitions. */
  recordSizes(partitions: readonly number[], name: string): Promise<readonly number[]>;

  /**
   * For each fence that is valid: takes members of sorted set `name` whose score is at most `nowMs`, at most `limit` of each partition, and moves their score to
   * `hiddenUntilMs` (the visibility timeout). Answers with what was taken, and with the partitions whose fence was refused.
   */
  takeDue(
    fences: readonly Fence[],
    name: string,
    nowMs: number,
    hiddenUntilMs: number,
    limit: number,
  ): Promise<{ readonly taken: readonly { readonly partition: number; readonly due: readonly Scored[] }[]; readonly refused: readonly number[] }>;

  close(): Promise<void>;
}
