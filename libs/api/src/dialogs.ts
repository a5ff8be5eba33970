import { decodeDialog, viewOf, type DialogView } from "@carillon/dialog";
import { dialogRecord, ENDED, TIMERS } from "@carillon/cluster";
import type { Store } from "@carillon/store";
import { partitionOf } from "@carillon/wire";

export interface DialogFilter {
  readonly callId?: string | undefined;
  readonly state?: DialogView["state"] | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface DialogPage {
  readonly dialogs: readonly DialogView[];
  /** Where the next page begins; null at the end. */
  readonly next: string | null;
}

/** Partition of a dialog's id, `<partition in hexadecimal>.<rest>`; undefined where it is none. */
export function partitionOfDialog(id: string, partitions: number): number | undefined {
  const found = /^([0-9a-f]{1,4})\.[0-9a-z-]{1,40}$/.exec(id);
  const partition = Number.parseInt(found?.[1] ?? "", 16);
  return partition < partitions ? partition : undefined;
}

export async function findDialog(store: Store, partitions: number, id: string): Promise<DialogView | undefined> {
  const partition = partitionOfDialog(id, partitions);
  if (partition === undefined) return undefined;
  const text = await store.value(partition, dialogRecord(id));
  return text === undefined ? undefined : viewOf(decodeDialog(text));
}

/**
 * A page of dialogs, partition by partition, within a partition by id. A dialog that is there from the first page to the last is shown exactly once; one that comes or
 * goes meanwhile may or may not be. The cursor is opaque to callers.
 */
export async function listDialogs(store: Store, partitions: number, filter: DialogFilter): Promise<DialogPage> {
  const only = filter.callId === undefined ? undefined : partitionOf(filter.callId, partitions);
  const from = readCursor(filter.cursor) ?? { partition: only ?? 0, after: "" };
  const dialogs: DialogView[] = [];
  const last = only ?? partitions - 1;
  for (let { partition, after } = from; partition <= last; partition++, after = "") {
    const ids = (await idsOf(store, partition, filter.state)).filter((id) => id > after);
    for (let at = 0; at < ids.length; at += filter.limit) {
      const some = ids.slice(at, at + filter.limit);
      const texts = await store.values(
        partition,
        some.map((id) => dialogRecord(id)),
      );
      for (const [index, text] of texts.entries()) {
        if (text === undefined) continue;
        const view = viewOf(decodeDialog(text));
        if ((filter.callId !== undefined && view.callId !== filter.callId) || (filter.state !== undefined && view.state !== filter.state)) continue;
        if (dialogs.length === filter.limit) return { dialogs, next: writeCursor(partition, dialogs.at(-1), some[index - 1] ?? after) };
        dialogs.push(view);
      }
    }
  }
  return { dialogs, next: null };
}

const MOST_IDS = 100_000;

async function idsOf(store: Store, partition: number, state: DialogView["state"] | undefined): Promise<readonly string[]> {
  const live = await store.range(partition, TIMERS, -Infinity, Infinity, 0, MOST_IDS);
  const over = state === undefined || state === "ended" ? await store.range(partition, ENDED, -Infinity, Infinity, 0, MOST_IDS) : [];
  return [...new Set([...live, ...over].map(({ member }) => member))].toSorted();
}

function writeCursor(partition: number, shown: DialogView | undefined, before: string): string {
  // The last one shown may lie in an earlier partition: then this one begins anew.
  const after = shown !== undefined && shown.id.startsWith(`${partition.toString(16)}.`) ? shown.id : before;
  return Buffer.from(JSON.stringify([partition, after])).toString("base64url");
}

function readCursor(cursor: string | undefined): { readonly partition: number; readonly after: string } | undefined {
  if (cursor === undefined) return undefined;
  try {
    const [partition, after] = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")) as [unknown, unknown];
    if (typeof partition === "number" && typeof after === "string") return { partition, after };
  } catch {
    // Not one of ours: said to the caller below.
  }
  throw Object.assign(new Error("the cursor is not one that this API gave"), { statusCode: 400 });
}
