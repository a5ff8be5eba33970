export type { Commit, Fence, Lease, Outcome, Role, Scored, Store, StoreStatus, Write } from "./store.ts";
export { StoreError, type StoreErrorCode } from "./errors.ts";
export { memoryStore, type MemoryStore } from "./memory-store.ts";
export { connectRedis, type RedisStoreOptions } from "./redis-store.ts";
