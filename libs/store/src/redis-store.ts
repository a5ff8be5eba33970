import { readFileSync } from "node:fs";
import { Cluster, Redis } from "ioredis";
import { StoreError } from "./errors.ts";
import { leaseName, leaseValue, prefixOf, readLeaseValue } from "./keys.ts";
import type { Commit, Fence, Lease, Role, Scored, Store, StoreStatus, Write } from "./store.ts";

export interface RedisStoreOptions {
  /** `redis://` or `rediss://`; several, comma separated, are nodes of a Redis Cluster; `redis-sentinel://host:port,host:port/<master>` asks Sentinel. */
  readonly url: string;
  /** Longest wait for an answer, milliseconds. */
  readonly timeLimitMs?: number | undefined;
  readonly log: { warn(fields: object, message: string): void };
}

type Client = Redis | Cluster;

const script = (name: string): string => readFileSync(new URL(name, import.meta.url), "utf8");

/** The client with our scripts; they go by EVALSHA once the server knows them. */
interface Scripted {
  carillonCommit(keys: number, ...rest: string[]): Promise<string>;
  carillonLease(keys: number, ...rest: string[]): Promise<number[]>;
  carillonTakeDue(keys: number, ...rest: string[]): Promise<("refused" | string[])[]>;
}

/** Connects. Rejects with `CARILLON_STORE_UNAVAILABLE` where Redis does not answer within the time limit; once connected it connects again for ever. */
export async function connectRedis(options: RedisStoreOptions): Promise<Store> {
  const timeLimitMs = options.timeLimitMs ?? 2_000;
  const client = open(options.url, timeLimitMs, options.log);
  const store = new RedisStore(client, timeLimitMs, client instanceof Cluster);
  try {
    await store.nowMs();
  } catch (cause) {
    client.disconnect();
    throw new StoreError("CARILLON_STORE_UNAVAILABLE", `no Redis answers at ${withoutSecrets(options.url)}`, cause);
  }
  await warnOfEviction(client, options.log);
  return store;
}

function open(url: string, timeLimitMs: number, log: RedisStoreOptions["log"]): Client {
  const shared = {
    commandTimeout: timeLimitMs,
    connectTimeout: timeLimitMs,
    maxRetriesPerRequest: null,
    enableReadyCheck: true,
    lazyConnect: false,
  } as const;
  const retry = (times: number): number => Math.min(50 * 2 ** Math.min(times, 5), 1_000) + Math.random() * 100;
  let client: Client;
  if (url.startsWith("redis-sentinel://")) client = new Redis({ ...sentinels(url), ...shared, retryStrategy: retry });
  else if (url.includes(",")) {
    const nodes = url.split(",").map((one) => new URL(one.trim()));
    const password = nodes[0]?.password;
    client = new Cluster(
      nodes.map((node) => ({ host: node.hostname, port: Number(node.port) || 6379 })),
      {
        clusterRetryStrategy: retry,
        redisOptions: { ...shared, ...(password === undefined || password === "" ? {} : { password: decodeURIComponent(password) }) },
      },
    );
  } else if (/^rediss?:\/\//.test(url)) client = new Redis(url, { ...shared, retryStrategy: retry });
  else throw new StoreError("CARILLON_STORE_URL", `expected redis://, rediss:// or redis-sentinel://, got ${withoutSecrets(url)}`);
  // Without a listener an error of the connection would end the process; the store's status and the failing calls tell.
  let said = "";
  client.on("error", (error: Error) => {
    if (error.message === said) return;
    said = error.message;
    log.warn({ err: error }, "Redis connection");
  });
  client.defineCommand("carillonCommit", { lua: script("commit.lua") });
  client.defineCommand("carillonLease", { lua: script("lease.lua") });
  client.defineCommand("carillonTakeDue", { lua: script("take-due.lua") });
  return client;
}

function sentinels(url: string): { sentinels: { host: string; port: number }[]; name: string } {
  const [hosts, name] = url.slice("redis-sentinel://".length).split("/");
  if (hosts === undefined || name === undefined || name === "")
    throw new StoreError("CARILLON_STORE_URL", "expected redis-sentinel://host:port,…/<master name>");
  return {
    name,
    sentinels: hosts.split(",").map((one) => {
      const parsed = new URL(`redis://${one}`);
      return { host: parsed.hostname, port: Number(parsed.port) || 26_379 };
    }),
  };
}

const withoutSecrets = (url: string): string => url.replace(/\/\/[^@/,]*@/g, "//***@");

/** A Redis that evicts loses calls: say so at start. Managed servers may forbid the question. */
async function warnOfEviction(client: Client, log: RedisStoreOptions["log"]): Promise<void> {
  if (client instanceof Cluster) return;
  try {
    const answer = await client.config("GET", "maxmemory-policy");
    const policy = Array.isArray(answer) ? String(answer[1]) : "";
    if (policy !== "noeviction" && policy !== "") log.warn({ policy }, "Redis may evict keys under memory pressure: set maxmemory-policy noeviction");
  } catch (error) {
    log.warn({ err: error }, "could not ask Redis for its maxmemory-policy: it must be noeviction");
  }
}

class RedisStore implements Store {
  readonly #client: Client & Scripted;
  readonly #timeLimitMs: number;
  /** A Redis Cluster: every script call stays within one partition. */
  readonly #split: boolean;
  readonly #listeners = new Set<(status: StoreStatus) => void>();
  #commits: Commit[] = [];
  #status: StoreStatus = "connected";

  constructor(client: Client, timeLimitMs: number, split: boolean) {
    // defineCommand adds the methods at run time.
    this.#client = client as Client & Scripted;
    this.#timeLimitMs = timeLimitMs;
    this.#split = split;
    client.on("ready", () => this.#change("connected"));
    client.on("close", () => this.#change("reconnecting"));
    client.on("end", () => this.#change("closed"));
  }

  get status(): StoreStatus {
    return this.#status;
  }

  onStatus(listener: (status: StoreStatus) => void): { stop(): void } {
    this.#listeners.add(listener);
    return { stop: () => void this.#listeners.delete(listener) };
  }

  #change(status: StoreStatus): void {
    if (status === this.#status) return;
    this.#status = status;
    for (const listener of this.#listeners) listener(status);
  }

  /** Settles within the time limit and turns whatever the client rejects with into ours. */
  async #limited<T>(promise: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      return await Promise.race([
        promise,
        new Promise<never>((_resolve, reject) => {
          timer = setTimeout(() => reject(new Error(`no answer within ${this.#timeLimitMs} ms`)), this.#timeLimitMs + 50);
        }),
      ]);
    } catch (cause) {
      throw new StoreError("CARILLON_STORE_UNAVAILABLE", cause instanceof Error ? cause.message : "Redis did not answer", cause);
    } finally {
      clearTimeout(timer);
    }
  }

  async nowMs(): Promise<number> {
    const [seconds, micros] = await this.#limited(this.#client.time());
    return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
  }

  /** Runs `call` over all items at once, or partition by partition in a Redis Cluster; answers in the order of the items. */
  async #each<T, A>(items: readonly T[], call: (items: readonly T[]) => Promise<readonly A[]>): Promise<readonly A[]> {
    if (items.length === 0) return [];
    if (!this.#split) return this.#limited(call(items));
    return (await this.#limited(Promise.all(items.map((item) => call([item]))))).flat();
  }

  /** What a script call names as its key, so that a Redis Cluster knows the slot. */
  static #key(partition: number | undefined): string {
    return `${prefixOf(partition ?? 0)}scripts`;
  }

  async claim(role: Role, partitions: readonly number[], member: string, ttlMs: number): Promise<readonly Lease[]> {
    const epochs = await this.#each(partitions, (some) =>
      this.#client.carillonLease(1, RedisStore.#key(some[0]), "claim", String(ttlMs), role, member, ...some.flatMap((partition) => [prefixOf(partition), "0"])),
    );
    return partitions.flatMap((partition, at) => {
      const epoch = epochs[at] ?? 0;
      return epoch > 0 ? [{ partition, role, member, epoch }] : [];
    });
  }

  async renew(leases: readonly Lease[], ttlMs: number): Promise<readonly number[]> {
    const epochs = await this.#forLeases("renew", leases, ttlMs);
    return leases.filter((_lease, at) => epochs[at] === 0).map(({ partition }) => partition);
  }

  async release(leases: readonly Lease[]): Promise<void> {
    await this.#forLeases("release", leases, 0);
  }

  #forLeases(what: "renew" | "release", leases: readonly Lease[], ttlMs: number): Promise<readonly number[]> {
    return this.#each(leases, (some) => {
      const [first] = some;
      if (first === undefined) return Promise.resolve([]);
      return this.#client.carillonLease(
        1,
        RedisStore.#key(first.partition),
        what,
        String(ttlMs),
        first.role,
        first.member,
        ...some.flatMap((lease) => [prefixOf(lease.partition), String(lease.epoch)]),
      );
    });
  }

  async leases(role: Role, partitions: readonly number[]): Promise<readonly Lease[]> {
    const texts = await this.#each(partitions, (some) => this.#client.mget(...some.map((partition) => prefixOf(partition) + leaseName(role))));
    return partitions.flatMap((partition, at) => {
      const lease = readLeaseValue(texts[at] ?? "");
      return lease === undefined ? [] : [{ partition, role, ...lease }];
    });
  }

  commit(commit: Commit): void {
    this.#commits.push(commit);
    if (this.#commits.length === 1) setImmediate(() => this.#flush());
  }

  #flush(): void {
    const batch = this.#commits;
    this.#commits = [];
    if (!this.#split) return this.#send(batch);
    const parted = new Map<number, Commit[]>();
    for (const commit of batch) {
      const { partition } = commit.fence;
      const some = parted.get(partition);
      if (some === undefined) parted.set(partition, [commit]);
      else some.push(commit);
    }
    for (const some of parted.values()) this.#send(some);
  }

  #send(batch: readonly Commit[]): void {
    const args: string[] = [];
    for (const { fence, writes } of batch) {
      args.push(prefixOf(fence.partition), fence.role, leaseValue(fence.member, fence.epoch), String(writes.length), "");
      const lengthAt = args.length - 1;
      for (const write of writes) pushWrite(args, write);
      args[lengthAt] = String(args.length - lengthAt - 1);
    }
    this.#client.carillonCommit(1, RedisStore.#key(batch[0]?.fence.partition), ...args).then(
      (outcomes) => {
        for (const [at, commit] of batch.entries()) commit.done(outcomes.charCodeAt(at) === 0x31 ? "written" : "refused");
      },
      () => {
        for (const commit of batch) commit.done("failed");
      },
    );
  }

  async record(partition: number, name: string): Promise<ReadonlyMap<string, string> | undefined> {
    const fields = Object.entries(await this.#limited(this.#client.hgetall(prefixOf(partition) + name)));
    return fields.length === 0 ? undefined : new Map(fields);
  }

  async records(partition: number, names: readonly string[]): Promise<readonly (ReadonlyMap<string, string> | undefined)[]> {
    if (names.length === 0) return [];
    const pipeline = this.#client.pipeline();
    for (const name of names) pipeline.hgetall(prefixOf(partition) + name);
    const answers = (await this.#limited(pipeline.exec())) ?? [];
    return answers.map(([error, answer]) => {
      if (error !== null) throw new StoreError("CARILLON_STORE_UNAVAILABLE", error.message, error);
      const fields = Object.entries(answer as Record<string, string>);
      return fields.length === 0 ? undefined : new Map(fields);
    });
  }

  async value(partition: number, name: string): Promise<string | undefined> {
    return (await this.#limited(this.#client.get(prefixOf(partition) + name))) ?? undefined;
  }

  async values(partition: number, names: readonly string[]): Promise<readonly (string | undefined)[]> {
    if (names.length === 0) return [];
    const texts = await this.#limited(this.#client.mget(...names.map((name) => prefixOf(partition) + name)));
    return texts.map((text) => text ?? undefined);
  }

  async range(partition: number, name: string, minScore: number, maxScore: number, offset: number, limit: number): Promise<readonly Scored[]> {
    const key = prefixOf(partition) + name;
    return scored(await this.#limited(this.#client.zrangebyscore(key, bound(minScore), bound(maxScore), "WITHSCORES", "LIMIT", offset, limit)));
  }

  sizes(partitions: readonly number[], name: string): Promise<readonly number[]> {
    return this.#counts(partitions, name, "zcard");
  }

  recordSizes(partitions: readonly number[], name: string): Promise<readonly number[]> {
    return this.#counts(partitions, name, "hlen");
  }

  #counts(partitions: readonly number[], name: string, command: "zcard" | "hlen"): Promise<readonly number[]> {
    return this.#each(partitions, async (some) => {
      const pipeline = this.#client.pipeline();
      for (const partition of some) pipeline[command](prefixOf(partition) + name);
      const answers = (await pipeline.exec()) ?? [];
      return answers.map(([error, answer]) => {
        if (error !== null) throw error;
        return Number(answer);
      });
    });
  }

  async takeDue(
    fences: readonly Fence[],
    name: string,
    nowMs: number,
    hiddenUntilMs: number,
    limit: number,
  ): Promise<{ readonly taken: readonly { readonly partition: number; readonly due: readonly Scored[] }[]; readonly refused: readonly number[] }> {
    const answers = await this.#each(fences, (some) =>
      this.#client.carillonTakeDue(
        1,
        RedisStore.#key(some[0]?.partition),
        name,
        String(nowMs),
        String(hiddenUntilMs),
        String(limit),
        ...some.flatMap((fence) => [prefixOf(fence.partition), fence.role, leaseValue(fence.member, fence.epoch)]),
      ),
    );
    const taken: { partition: number; due: readonly Scored[] }[] = [];
    const refused: number[] = [];
    for (const [at, answer] of answers.entries()) {
      const partition = fences[at]?.partition;
      if (partition === undefined) continue;
      if (answer === "refused") refused.push(partition);
      else if (answer.length > 0) taken.push({ partition, due: scored(answer) });
    }
    return { taken, refused };
  }

  async close(): Promise<void> {
    if (this.#commits.length > 0) this.#flush();
    try {
      await this.#limited(this.#client.quit());
    } catch {
      // It is gone already, or does not answer: either way there is nothing left to send.
      this.#client.disconnect();
    }
  }
}

const bound = (score: number): string => (score === Infinity ? "+inf" : score === -Infinity ? "-inf" : String(score));

function scored(flat: readonly string[]): readonly Scored[] {
  const found: Scored[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) found.push({ member: flat[at] ?? "", score: Number(flat[at + 1]) });
  return found;
}

function pushWrite(args: string[], write: Write): void {
  switch (write.kind) {
    case "set":
      args.push("s", write.name, String(Math.ceil(write.ttlMs)), String(write.fields.length), ...write.fields);
      return;
    case "unset":
      args.push("u", write.name, String(write.fields.length), ...write.fields);
      return;
    case "put":
      args.push("p", write.name, String(Math.ceil(write.ttlMs)), write.value);
      return;
    case "expire":
      args.push("e", write.name, String(Math.ceil(write.ttlMs)));
      return;
    case "delete":
      args.push("d", write.name);
      return;
    case "score":
      args.push("z", write.name, String(Math.ceil(write.ttlMs)), write.member, String(write.score));
      return;
    case "unscore":
      args.push("x", write.name, String(write.members.length), ...write.members);
      return;
    case "trim":
      args.push("t", write.name, String(write.maxScore));
  }
}
