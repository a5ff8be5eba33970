export type { Commit, Fence, Lease, Outcome, Role, Scored, Store, StoreStatus, Write } from "./store.ts";
