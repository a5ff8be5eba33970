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
  /** Where the next page begins; null at the end. A page with few dialogs, or none, is not the end: it is what was found within the work of one request. */
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

const READ_AT_ONCE = 250;
/** Records that one request reads at most: a filter that matches nothing must not read the whole store. */
export const MOST_READ = 5_000;

/**
 * A page of dialogs, partition by partition, within a partition by id. A dialog that is there from the first page to the last is shown exactly once; one that comes or
 * goes meanwhile may or may not be. The cursor is opaque to callers. A record that this release cannot read is left out and told to `onUnreadable`.
 * Throws with `statusCode` 400 for a cursor that is not of this list.
 */
export async function listDialogs(
  store: Store,
  partitions: number,
  filter: DialogFilter,
  onUnreadable: (id: string, error: unknown) => void,
): Promise<DialogPage> {
  const only = filter.callId === undefined ? undefined : partitionOf(filter.callId, partitions);
  const first = only ?? 0;
  const last = only ?? partitions - 1;
  const from = readCursor(filter.cursor, first, last) ?? { partition: first, after: "" };
  const dialogs: DialogView[] = [];
  let read = 0;
  for (let { partition, after } = from; partition <= last; partition++, after = "") {
    const ids = (await idsOf(store, partition, filter.state)).filter((id) => id > after);
    for (let at = 0; at < ids.length; at += READ_AT_ONCE) {
      const before = ids[at - 1] ?? after;
      if (read >= MOST_READ) return { dialogs, next: writeCursor(partition, before) };
      const some = ids.slice(at, at + READ_AT_ONCE);
      read += some.length;
      const texts = await store.values(
        partition,
        some.map((id) => dialogRecord(id)),
      );
      for (const [index, text] of texts.entries()) {
        if (text === undefined) continue;
        const view = viewed(some[index] ?? "", text, onUnreadable);
        if (view === undefined) continue;
        if ((filter.callId !== undefined && view.callId !== filter.callId) || (filter.state !== undefined && view.state !== filter.state)) continue;
        if (dialogs.length === filter.limit) return { dialogs, next: writeCursor(partition, some[index - 1] ?? before) };
        dialogs.push(view);
      }
    }
  }
  return { dialogs, next: null };
}

function viewed(id: string, text: string, onUnreadable: (id: string, error: unknown) => void): DialogView | undefined {
  try {
    return viewOf(decodeDialog(text));
  } catch (error) {
    // A newer release wrote it, during an upgrade.
    onUnreadable(id, error);
    return undefined;
  }
}

const MOST_IDS = 100_000;

async function idsOf(store: Store, partition: number, state: DialogView["state"] | undefined): Promise<readonly string[]> {
  const [live, over] = await Promise.all([
    store.range(partition, TIMERS, -Infinity, Infinity, 0, MOST_IDS),
    state === undefined || state === "ended" ? store.range(partition, ENDED, -Infinity, Infinity, 0, MOST_IDS) : [],
  ]);
  return [...new Set([...live, ...over].map(({ member }) => member))].toSorted();
}

/** The list goes on in `partition` with the first id after `after`. */
function writeCursor(partition: number, after: string): string {
  return Buffer.from(JSON.stringify([partition, after])).toString("base64url");
}

function readCursor(cursor: string | undefined, first: number, last: number): { readonly partition: number; readonly after: string } | undefined {
  if (cursor === undefined) return undefined;
  try {
    const [partition, after] = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")) as [unknown, unknown];
    if (typeof partition === "number" && Number.isInteger(partition) && partition >= first && partition <= last && typeof after === "string")
      return { partition, after };
  } catch {
    // Not one of ours: said to the caller below.
  }
  throw Object.assign(new Error("the cursor is not one that this API gave for this list"), { statusCode: 400 });
}
