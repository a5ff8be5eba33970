import { inProcessBus } from "@carillon/bus";
import { dialogRecord, ENDED, TIMERS, type StatefulPod } from "@carillon/cluster";
import { loadConfig } from "@carillon/config";
import { encodeDialog, stepDialog, type Dialog, type DialogPolicy } from "@carillon/dialog";
import { memoryStore, type Store } from "@carillon/store";
import { createMetrics } from "@carillon/telemetry";
import { dialogDo, partitionOf } from "@carillon/wire";
import { beforeEach, describe, expect, test } from "vitest";
import { MOST_READ } from "./dialogs.ts";
import { createApi, startApi } from "./index.ts";

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

let warned: object[] = [];
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
  warned = [];
  store = memoryStore();
  bus = inProcessBus({ onError: () => undefined });
});

const app = async (env: Record<string, string> = {}): ReturnType<typeof createApi> => createApi(podOf(env));

function podOf(env: Record<string, string>, stops: (() => Promise<void> | void)[] = []): StatefulPod {
  return {
    service: "api",
    member: "api-1",
    config: loadConfig({ CARILLON_PARTITIONS: String(PARTITIONS), ...env }, () => ""),
    log: { error: () => undefined, warn: (fields: object) => void warned.push(fields) } as never,
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
    onStop: (stop) => void stops.push(stop),
  };
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

  test("a filter that matches nothing reads a bounded number of records per request, and the pages still lead to what matches", async () => {
    const api = await app();
    const one = dialog("wanted", "confirmed");
    const partition = partitionOf("wanted", PARTITIONS);
    const [fence] = await store.claim("dialog", [partition], "m", 60_000);
    const ids = Array.from({ length: MOST_READ + 500 }, (_one, at) => `${partition.toString(16)}.a${at}`);
    const value = encodeDialog(dialog("other", "early"));
    const writes = ids.flatMap((id) => [
      { kind: "put" as const, name: dialogRecord(id), ttlMs: 60_000, value },
      { kind: "score" as const, name: TIMERS, ttlMs: 60_000, member: id, score: 1 },
    ]);
    await new Promise((done) => store.commit({ fence: fence!, writes, done }));
    await write(one);
    const first = (await api.inject("/api/v1/dialogs?state=confirmed")).json();
    expect([first.dialogs, first.next]).toEqual([[], expect.any(String)]);
    const second = (await api.inject(`/api/v1/dialogs?state=confirmed&cursor=${first.next}`)).json();
    expect([second.dialogs.map(({ callId }: { callId: string }) => callId), second.next]).toEqual([["wanted"], null]);
  });

  test("a record of a newer release is left out of the list and said in the log", async () => {
    const api = await app();
    const [good, newer] = [dialog("good", "confirmed"), dialog("newer", "confirmed")];
    await write(good);
    await write(newer);
    const partition = partitionOf("newer", PARTITIONS);
    const [fence] = await store.claim("dialog", [partition], "m", 60_000);
    const writes = [{ kind: "put" as const, name: dialogRecord(newer.id), ttlMs: 60_000, value: '[99,"confirmed"]' }];
    await new Promise((done) => store.commit({ fence: fence!, writes, done }));
    const { dialogs } = (await api.inject("/api/v1/dialogs")).json();
    expect(dialogs.map(({ callId }: { callId: string }) => callId)).toEqual(["good"]);
    expect(warned).toEqual([expect.objectContaining({ "sip.dialog.id": newer.id })]);
    expect((await api.inject(`/api/v1/dialogs/${newer.id}`)).statusCode).toBe(500);
  });

  test("a store that is away is a 503, which says nothing of where it is", async () => {
    const api = await app();
    store.value = () => Promise.reject(Object.assign(new Error("CARILLON_STORE_UNAVAILABLE: redis.internal"), { code: "CARILLON_STORE_UNAVAILABLE" }));
    const answer = await api.inject("/api/v1/dialogs/3.abc");
    expect([answer.statusCode, answer.json().title]).toEqual([503, "Service Unavailable"]);
    expect(answer.body).not.toContain("redis.internal");
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

  const cursor = (...parts: unknown[]): string => `cursor=${Buffer.from(JSON.stringify(parts)).toString("base64url")}`;
  test.each([
    "limit=0",
    "limit=1001",
    "limit=x",
    "state=gone",
    "cursor=!!",
    "other=1",
    cursor(-1e15, ""),
    cursor(0.5, ""),
    cursor(PARTITIONS, ""),
    cursor("0", ""),
    cursor(1, 2),
    // Of another list: this Call-ID lives in one partition.
    `callId=call7&${cursor((partitionOf("call7", PARTITIONS) + 1) % PARTITIONS, "")}`,
  ])("%s is a bad query", async (query) => {
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
  expect(
    await Promise.all(["bearer correct", "Bearer  correct", "Basic correct", "correct", "Bearer "].map((given) => status("/api/v1/cluster", given))),
  ).toEqual([200, 200, 401, 401, 401]);
  // Only the paths themselves are open, and what is not there is not told to strangers.
  expect(await Promise.all(["//livez", "/livez/", "/livez;x", "/nothing", "/api/v1/dialogs/3.abc"].map((url) => status(url)))).toEqual([
    401, 401, 401, 401, 401,
  ]);
  const refused = await api.inject("/api/v1/dialogs");
  expect([refused.headers["www-authenticate"], refused.headers["content-type"], refused.json()]).toEqual([
    "Bearer",
    "application/problem+json; charset=utf-8",
    { type: "about:blank", title: "Unauthorized", status: 401, detail: "a bearer token is needed" },
  ]);
  expect(await Promise.all(["/livez", "/readyz", "/metrics", "/api/v1/openapi.json"].map((url) => status(url)))).toEqual([200, 200, 200, 200]);
});

test("the OpenAPI document names every route and its answers", async () => {
  const document = (await (await app()).inject("/api/v1/openapi.json")).json();
  expect(document.openapi).toBe("3.1.0");
  expect(Object.keys(document.paths).toSorted()).toEqual(["/api/v1/cluster", "/api/v1/dialogs", "/api/v1/dialogs/{id}"]);
  expect(Object.keys(document.paths["/api/v1/dialogs/{id}"].delete.responses)).toContain("202");
});

test("over a socket: a bad path is a problem, and it stops when the process does", async () => {
  const stops: (() => Promise<void> | void)[] = [];
  const { host, port } = await startApi(podOf({ CARILLON_HTTP_LISTEN: "127.0.0.1:0" }, stops));
  expect((await fetch(`http://${host}:${port}/livez`)).status).toBe(200);
  const bad = await fetch(`http://${host}:${port}/api/v1/dialogs/%`);
  expect([bad.status, bad.headers.get("content-type")]).toEqual([400, "application/problem+json; charset=utf-8"]);
  for (const stop of stops) await stop();
  await expect(fetch(`http://${host}:${port}/livez`)).rejects.toThrow("fetch failed");
});
