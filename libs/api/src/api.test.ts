import { inProcessBus } from "@carillon/bus";
import { dialogRecord, ENDED, TIMERS, type StatefulPod } from "@carillon/cluster";
import { loadConfig } from "@carillon/config";
import { encodeDialog, stepDialog, type Dialog, type DialogPolicy } from "@carillon/dialog";
import { memoryStore, type Store } from "@carillon/store";
import { createMetrics } from "@carillon/telemetry";
import { dialogDo, partitionOf } from "@carillon/wire";
import { beforeEach, describe, expect, test } from "vitest";
import { createApi } from "./index.ts";

const PARTITIONS = 16;
const leg = (name: string) => ({ address: `<sip:${name}@x>;tag=${name}`, tag: name, contact: `sip:${name}@192.0.2.1`, routeSet: [], flow: "" });
const policy = { lifetimeMs: 1_000, earlyLimitMs: 1_000 } as DialogPolicy;

function dialog(callId: string, state: Dialog["state"]): Dialog {
  const id = `${partitionOf(callId, PARTITIONS).toString(16)}.${callId}`;
  const event = { id, callId, atMs: 5_000, legs: { caller: leg("alice"), callee: leg("bob") } };
  const early = stepDialog(undefined, { kind: "early", ...event }, 5_000, policy, () => 0).next!;
  if (state === "early") return early;
  const confirmed = stepDialog(early, { kind: "confirmed", ...event }, 5_000, policy, () => 0).next!;
  return state === "confirmed" ? confirmed : stepDialog(confirmed, { kind: "bye", id, atMs: 6_000, by: "callee" }, 6_000, policy, () => 0).next!;
}

let store: Store;
let bus: ReturnType<typeof inProcessBus>;
const write = async (one: Dialog): Promise<void> => {
  const partition = partitionOf(one.callId, PARTITIONS);
  const [fence] = await store.claim("dialog", [partition], "m", 60_000);
  await new Promise((done) =>
    store.commit({
      fence: fence!,
      writes: [
        { kind: "put", name: dialogRecord(one.id), ttlMs: 60_000, value: encodeDialog(one) },
        { kind: "score", name: one.state === "ended" ? ENDED : TIMERS, ttlMs: 60_000, member: one.id, score: 1 },
      ],
      done,
    }),
  );
};

beforeEach(() => {
  store = memoryStore();
  bus = inProcessBus({ onError: () => undefined });
});

async function app(env: Record<string, string> = {}): ReturnType<typeof createApi> {
  const pod: StatefulPod = {
    service: "api",
    member: "api-1",
    config: loadConfig({ CARILLON_PARTITIONS: String(PARTITIONS), ...env }, () => ""),
    log: { error: () => undefined } as never,
    metrics: createMetrics("api"),
    tracing: undefined,
    bus,
    store,
    membership: {
      members: () => [{ name: "m", roles: ["dialog"], sinceMs: 0, address: "" }],
      eligible: () => [],
      onChange: () => undefined,
      leave: () => undefined,
    },
    addCheck: () => undefined,
    ready: async () => ({ ok: true, reasons: [] }),
    onStop: () => undefined,
  };
  return createApi(pod);
}

describe("dialogs", () => {
  test("are listed, filtered and paged, each once", async () => {
    const api = await app();
    for (let at = 0; at < 25; at++) await write(dialog(`call${at}`, at % 5 === 0 ? "ended" : at % 5 === 1 ? "early" : "confirmed"));
    const list = async (query: string): Promise<{ dialogs: { callId: string; state: string }[]; next: string | null }> =>
      (await api.inject(`/api/v1/dialogs?${query}`)).json();
    expect((await list("")).dialogs).toHaveLength(25);
    expect((await list("state=ended")).dialogs).toHaveLength(5);
    expect((await list("callId=call7")).dialogs.map(({ callId, state }) => [callId, state])).toEqual([["call7", "confirmed"]]);
    const found: string[] = [];
    let cursor = "";
    do {
      const page = await list(`limit=4&cursor=${cursor}`.replace(/&cursor=$/, ""));
      expect(page.dialogs.length).toBeLessThanOrEqual(4);
      found.push(...page.dialogs.map(({ callId }) => callId));
      cursor = page.next ?? "";
    } while (cursor !== "");
    expect([found.length, new Set(found).size]).toEqual([25, 25]);
  });

  test("one is shown with its end", async () => {
    const api = await app();
    const one = dialog("over", "ended");
    await write(one);
    expect((await api.inject(`/api/v1/dialogs/${one.id}`)).json()).toMatchObject({
      callId: "over",
      state: "ended",
      endReason: "Upstream BYE",
      endedBy: "callee",
      answeredAt: "1970-01-01T00:00:05.000Z",
      endedAt: "1970-01-01T00:00:06.000Z",
      caller: { tag: "alice" },
    });
  });

  test.each(["/api/v1/dialogs/none", "/api/v1/dialogs/ff.abc", "/api/v1/dialogs/0.abc", "/nothing"])("%s is not found, as a problem", async (path) => {
    const answer = await (await app()).inject(path);
    expect([answer.statusCode, answer.headers["content-type"], answer.json()]).toEqual([
      404,
      "application/problem+json; charset=utf-8",
      expect.objectContaining({ status: 404 }),
    ]);
  });

  test.each(["limit=0", "limit=x", "state=gone", "cursor=!!", "other=1"])("%s is a bad query", async (query) => {
    expect((await (await app()).inject(`/api/v1/dialogs?${query}`)).statusCode).toBe(400);
  });

  test.each([
    ['{"ok":true}', 202],
    ['{"ok":false,"code":"not-found"}', 404],
    ['{"ok":false,"code":"ended"}', 409],
    ['{"ok":false,"code":"unavailable"}', 503],
    [undefined, 503],
  ])("DELETE asks the owner: %s is %i", async (verdict, status) => {
    const asked: string[] = [];
    if (verdict !== undefined) {
      bus.subscribe(dialogDo(3), (delivery) => {
        asked.push(Buffer.from(delivery.payload).toString());
        delivery.answer(Buffer.from(verdict));
      });
    }
    const answer = await (await app()).inject({ method: "DELETE", url: "/api/v1/dialogs/3.abc" });
    expect(answer.statusCode).toBe(status);
    if (verdict !== undefined) expect(JSON.parse(asked[0]!)).toEqual({ kind: "end", id: "3.abc", reason: "MI Termination" });
  });
});

test("the cluster's members and owners", async () => {
  await store.claim("dialog", [2, 3], "m", 60_000);
  const view = (await (await app()).inject("/api/v1/cluster")).json();
  expect(view.members).toEqual([{ name: "m", roles: ["dialog"], since: "1970-01-01T00:00:00.000Z", partitions: { dialog: 2 } }]);
  expect(view.owners.dialog.slice(0, 5)).toEqual([null, null, "m", "m", null]);
});

test("a token guards all but health; it is not started open to others without one", async () => {
  await expect(app({ CARILLON_HTTP_LISTEN: "0.0.0.0:8080" })).rejects.toMatchObject({ code: "CARILLON_CONFIG_TOKEN" });
  const api = await app({ CARILLON_HTTP_LISTEN: "0.0.0.0:8080", CARILLON_API_TOKEN: "correct" });
  const status = async (url: string, authorization?: string): Promise<number> =>
    (await api.inject({ url, headers: authorization === undefined ? {} : { authorization } })).statusCode;
  expect(await Promise.all([status("/api/v1/dialogs"), status("/api/v1/dialogs", "Bearer wrong"), status("/api/v1/dialogs", "Bearer correct")])).toEqual([
    401, 401, 200,
  ]);
  expect(await Promise.all(["/livez", "/readyz", "/metrics", "/api/v1/openapi.json"].map((url) => status(url)))).toEqual([200, 200, 200, 200]);
});

test("the OpenAPI document names every route and its answers", async () => {
  const document = (await (await app()).inject("/api/v1/openapi.json")).json();
  expect(document.openapi).toBe("3.1.0");
  expect(Object.keys(document.paths).toSorted()).toEqual(["/api/v1/cluster", "/api/v1/dialogs", "/api/v1/dialogs/{id}"]);
  expect(Object.keys(document.paths["/api/v1/dialogs/{id}"].delete.responses)).toContain("202");
});
