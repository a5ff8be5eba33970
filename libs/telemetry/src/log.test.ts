import { expect, test } from "vitest";
import { createLog } from "./index.ts";

function logged(write: (log: ReturnType<typeof createLog>) => void, level = "info"): Record<string, unknown>[] {
  const lines: string[] = [];
  write(createLog({ service: "ingress", member: "ingress-1", level, to: { write: (line) => void lines.push(line) } }));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("a line is JSON with level, instant, service, member and the fields of the call", () => {
  const [line] = logged((log) => log.info({ "sip.call_id": "a@b", trace_id: "0af7" }, "answered"));
  expect(line).toEqual({
    level: "info",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
    service: "ingress",
    member: "ingress-1",
    "sip.call_id": "a@b",
    trace_id: "0af7",
    msg: "answered",
  });
});

test("lines below the level are not written", () => {
  expect(logged((log) => log.info({}, "quiet"), "warn")).toEqual([]);
});

test.each(["password", "secret", "token", "apiToken", "authorization", "url", "natsUrl", "redisUrl"])("%s is cut out, alone and one level down", (name) => {
  const text = JSON.stringify(logged((log) => log.info({ [name]: "hunter2", config: { [name]: "hunter2" } }, "started")));
  expect(text).not.toContain("hunter2");
  expect(text.split("[cut]")).toHaveLength(3);
});

test("an error keeps its code and its cause, but not the credentials in its text", () => {
  const cause = new Error("connect redis://user:hunter2@redis:6379");
  const error = Object.assign(new Error("no Redis answers at rediss://:hunter2@redis", { cause }), { code: "CARILLON_STORE_UNAVAILABLE" });
  const [line] = logged((log) => log.error({ err: error }, "store"));
  expect(line?.["err"]).toMatchObject({
    type: "Error",
    code: "CARILLON_STORE_UNAVAILABLE",
    message: expect.stringContaining("rediss://[cut]@redis") as string,
  });
  expect(line?.["err"]).toHaveProperty("stack", expect.stringContaining("connect redis://[cut]@redis:6379"));
  expect(JSON.stringify(line)).not.toContain("hunter2");
});
