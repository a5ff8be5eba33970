import { describe, expect, test } from "vitest";
import { defineRoutes, type RequestCall, type Routes } from "./index.ts";
import { checkRoutes } from "./running.ts";
import { simulate, type SimulatedCall } from "./testing.ts";

const B = "sip:b@192.0.2.11";
const C = "sip:c@192.0.2.12";
const D = "sip:d@192.0.2.13";
const to = (route: (call: RequestCall) => void | Promise<void>, others: Partial<Routes> = {}): SimulatedCall =>
  simulate(defineRoutes({ request: route, ...others }));
const uris = (call: SimulatedCall): readonly string[] => call.branches.map(({ uri }) => uri);

describe("a request route", () => {
  test("relays to the Request-URI that it changed, with the headers and the body that it made", async () => {
    const call = to(({ request, relay }) => {
      request.uri = B;
      request.headers.set("X-Account", "Müller");
      request.headers.remove("Subject");
      request.setBody("grüße", "text/plain");
      relay();
    });
    await call.request("sip:0800@example.com", { headers: [["Subject", "x"]], body: "y" });
    const [branch] = call.branches;
    expect([branch!.uri, branch!.request.headers.get("x-account"), branch!.request.headers.has("Subject"), branch!.request.body]).toEqual([
      B,
      "Müller",
      false,
      "grüße",
    ]);
    expect(branch!.request.headers.get("Content-Length")).toBe("7");
    await call.answer(B, 200);
    expect(call.statuses).toEqual([100, 200]);
  });

  test("answers itself, with headers", async () => {
    const call = to(({ reply }) => reply(302, "Moved", { Contact: `<${B}>` }));
    await call.request("sip:b@example.com");
    expect([call.statuses, call.last!.reason, call.last!.headers.get("Contact")]).toEqual([[100, 302], "Moved", `<${B}>`]);
  });

  test("that throws, or decides nothing, is a 500 with the script's file and line", async () => {
    const thrown = to(() => {
      throw new Error("no such account");
    });
    await thrown.request(B);
    const nothing = to(() => undefined);
    await nothing.request(B);
    expect([thrown.statuses, nothing.statuses]).toEqual([
      [100, 500],
      [100, 500],
    ]);
    expect(thrown.failures[0]).toMatch(/^request: no such account at script\.test\.ts:\d+$/);
    expect(nothing.failures[0]).toBe("request: the route ended without reply, relay, fork or drop");
  });

  test("its failure goes to the error route, which may answer", async () => {
    const call = to(
      () => {
        throw new Error("down");
      },
      { error: ({ reply, error }) => reply(503, error.slice(0, 13), { "Retry-After": "5" }) },
    );
    await call.request(B);
    expect([call.statuses, call.last!.reason, call.routes]).toEqual([[100, 503], "request: down", ["request", "error"]]);
  });

  test("may not touch what belongs to the transaction", async () => {
    const call = to(({ request, relay }) => {
      request.headers.set("CSeq", "9 INVITE");
      relay();
    });
    await call.request(B);
    expect([call.statuses, call.failures[0]]).toEqual([[100, 500], expect.stringMatching(/CSeq belongs to the transaction/)]);
  });

  test("cannot split a header in two", async () => {
    const call = to(({ request, relay }) => {
      request.headers.set("X-A", "1\r\nX-B: 2");
      relay();
    });
    await call.request(B);
    expect(call.statuses).toEqual([100, 500]);
  });

  test("routes other methods too, and drops without a word", async () => {
    const call = to(({ request, relay, drop }) => (request.method === "MESSAGE" ? relay(C) : drop()));
    await call.request(B, { method: "MESSAGE", body: "hello" });
    expect(uris(call)).toEqual([C]);
    await call.answer(C, 202);
    await call.request(B, { method: "OPTIONS" });
    expect(call.statuses).toEqual([202]);
  });

  test("without Record-Route the cluster leaves the path", async () => {
    const call = to(({ recordRoute, relay }) => {
      recordRoute(false);
      relay();
    });
    await call.request(B);
    expect(call.branches[0]!.request.headers.has("Record-Route")).toBe(false);
    await call.answer(B, 200);
    expect(call.statuses).toEqual([100, 200]);
  });
});

describe("serial forking", () => {
  const serial = (): SimulatedCall => to(({ relay }) => relay([B, { uri: C, timeLimit: 3 }, D]));

  test("the first is out of service, the second does not answer in 3 s, the third answers", async () => {
    const call = serial();
    await call.request("sip:x@example.com");
    expect(uris(call)).toEqual([B]);
    await call.answer(B, 503);
    expect(uris(call)).toEqual([B, C]);
    await call.answer(C, 180);
    await call.wait(2.9);
    expect(uris(call)).toEqual([B, C]);
    await call.wait(0.2);
    expect([uris(call), call.branches[1]!.cancelled]).toEqual([[B, C, D], true]);
    await call.answer(C, 487);
    await call.answer(D, 200);
    expect(call.statuses).toEqual([100, 180, 200]);
  });

  test("goes on at another pod", async () => {
    const call = serial();
    await call.request("sip:x@example.com");
    await call.answer(B, 503);
    await call.takeOver();
    await call.wait(3.1);
    expect(uris(call)).toEqual([B, C, D]);
    await call.takeOver();
    await call.answer(D, 200);
    expect(call.statuses).toEqual([100, 200]);
  });

  test("who was given up and answers all the same gets the call", async () => {
    const call = serial();
    await call.request("sip:x@example.com");
    await call.answer(B, 503);
    await call.wait(3.1);
    await call.answer(C, 200);
    expect(call.statuses).toEqual([100, 200]);
    await call.answer(D, 180);
    expect(call.branches[2]!.cancelled).toBe(true);
  });

  test("with fail-over only where a target is not available, a busy one ends it", async () => {
    const call = to(({ relay }) => relay([B, C, D], { failover: "unavailable" }));
    await call.request("sip:x@example.com");
    await call.answer(B, 500);
    await call.answer(C, 486);
    expect([uris(call), call.statuses]).toEqual([
      [B, C],
      [100, 486],
    ]);
  });

  test("by q: equal ones at once, the highest first", async () => {
    const call = to(({ fork }) =>
      fork(
        [
          { uri: B, q: 0.5 },
          { uri: C, q: 0.9 },
          { uri: D, q: 0.5 },
        ],
        { mode: "q" },
      ),
    );
    await call.request("sip:x@example.com");
    expect(uris(call)).toEqual([C]);
    await call.answer(C, 480);
    expect(uris(call)).toEqual([C, B, D]);
  });
});

describe("parallel forking", () => {
  const both = (others: Partial<Routes> = {}): SimulatedCall => to(({ fork }) => fork([B, C]), others);

  test("one answers: the other gets CANCEL, and its 487 is absorbed", async () => {
    const call = both();
    await call.request("sip:x@example.com");
    await call.answer(B, 180);
    await call.answer(C, 180);
    await call.answer(B, 200);
    expect(call.branches.map(({ cancelled }) => cancelled)).toEqual([false, true]);
    await call.answer(C, 487);
    expect(call.statuses).toEqual([100, 180, 180, 200]);
  });

  test("two answer at once: both 2xx pass", async () => {
    const call = both();
    await call.request("sip:x@example.com");
    await call.answer(B, 200);
    await call.answer(C, 200);
    expect([call.statuses, call.upstream.slice(1).map(({ to: { uri }, contact }) => [uri, contact])]).toEqual([
      [100, 200, 200],
      [
        ["sip:x@example.com", B],
        ["sip:x@example.com", C],
      ],
    ]);
  });

  test("all fail: the best response goes up", async () => {
    const call = both();
    await call.request("sip:x@example.com");
    await call.answer(B, 503);
    await call.answer(C, 486);
    expect(call.statuses).toEqual([100, 486]);
  });

  test("a reply route cancels the others at the first ringing", async () => {
    const call = both({ reply: ({ response, cancelBranches }) => void (response.status === 180 && cancelBranches()) });
    await call.request("sip:x@example.com");
    await call.answer(C, 183);
    await call.answer(B, 180);
    expect(call.branches.map(({ cancelled }) => cancelled)).toEqual([false, true]);
  });
});

describe("armed routes", () => {
  const voicemail = defineRoutes({
    request: ({ relay, onFailure, vars }) => {
      vars["tried"] = ["ü"];
      onFailure("voicemail");
      relay({ uri: B, timeLimit: 5 });
    },
    failure: {
      voicemail: ({ status, relay, request, vars, branches }) => {
        if (status !== 408 && status !== 486) return;
        request.headers.set("Diversion", `<${branches[0]!.uri}>;reason=${status}`);
        request.headers.set("X-Tried", JSON.stringify(vars["tried"]));
        relay("sip:voicemail@192.0.2.20");
      },
    },
  });

  test("a failure route sends the call to voicemail, with the variables of the request route", async () => {
    const call = simulate(voicemail);
    await call.request("sip:b@example.com");
    await call.answer(B, 180);
    await call.takeOver();
    await call.wait(6);
    const { request } = call.branches[1]!;
    expect([request.uri, request.headers.get("Diversion"), request.headers.get("X-Tried")]).toEqual(["sip:voicemail@192.0.2.20", `<${B}>;reason=408`, '["ü"]']);
    await call.answer("sip:voicemail@192.0.2.20", 200);
    expect([call.statuses, call.routes]).toEqual([
      [100, 180, 200],
      ["request", "failure.voicemail"],
    ]);
  });

  test("without a decision the failure goes up; a route runs once unless armed again", async () => {
    const call = simulate(voicemail);
    await call.request("sip:b@example.com");
    await call.answer(B, 404);
    expect([call.statuses, call.routes]).toEqual([
      [100, 404],
      ["request", "failure.voicemail"],
    ]);
  });

  test("a failure route does not run for a call that was cancelled", async () => {
    const call = simulate(voicemail);
    await call.request("sip:b@example.com");
    await call.answer(B, 180);
    await call.cancel();
    expect(call.branches[0]!.cancelled).toBe(true);
    await call.answer(B, 487);
    expect([call.statuses, call.routes]).toEqual([[100, 180, 487], ["request"]]);
  });

  test("a branch route changes one branch and keeps another from leaving", async () => {
    const call = to(
      ({ fork, onBranch }) => {
        onBranch("clean");
        fork([B, C, D]);
      },
      {
        branch: {
          clean: ({ request, target, drop, vars }) => {
            vars["n"] = Number(vars["n"] ?? 0) + 1;
            if (target === C) return drop();
            request.headers.set("X-Branch", String(vars["n"]));
            if (target === D) request.uri = "sip:d2@192.0.2.13";
          },
        },
      },
    );
    await call.request("sip:x@example.com");
    expect(call.branches.map(({ uri, request }) => [uri, request.headers.get("X-Branch")])).toEqual([
      [B, "1"],
      ["sip:d2@192.0.2.13", "3"],
    ]);
  });

  test("reply routes see each reply in order: change one, keep one from the caller", async () => {
    const call = to(
      ({ relay, onReply }) => {
        onReply("first", "second");
        relay(B);
      },
      {
        reply: {
          first: async ({ response, drop }) => {
            if (response.status === 183) drop();
            await Promise.resolve();
            response.headers.set("X-Seen", "first");
          },
          second: ({ response }) => response.headers.set("X-Seen", `${response.headers.get("X-Seen")}, second`),
        },
      },
    );
    await call.request("sip:x@example.com");
    await call.answer(B, 183);
    await call.answer(B, 180);
    await call.answer(B, 200);
    expect(call.statuses).toEqual([100, 180, 200]);
    expect(call.last!.headers.get("X-Seen")).toBe("first, second");
  });

  test("a reply route that throws loses no reply", async () => {
    const call = to(({ relay }) => relay(B), {
      reply: () => {
        throw new Error("x");
      },
    });
    await call.request("sip:x@example.com");
    await call.answer(B, 200);
    expect([call.statuses, call.failures.length]).toEqual([[100, 200], 1]);
  });
});

test("what the dispatcher gives is tried in its order, and none at all is a 503", async () => {
  const routes = defineRoutes({ request: ({ relay }) => relay({ dispatcher: "carriers" }) });
  const call = simulate(routes, { dispatcher: { carriers: [B, C] } });
  await call.request("sip:x@example.com");
  await call.answer(B, 503);
  expect(uris(call)).toEqual([B, C]);
  const none = simulate(routes);
  await none.request("sip:x@example.com");
  expect(none.statuses).toEqual([100, 503]);
});

const none = (): void => undefined;
test.each([
  [undefined, /no default export/],
  [{}, /no `request` route/],
  [{ request: 1 }, /no `request` route/],
  [{ request: none, requests: 1 }, /"requests" is no route/],
  [{ request: none, failure: { "a b": none } }, /"a b" is no name/],
  [{ request: none, branch: { a: 1 } }, /`branch.a` is not a function/],
])("%o is refused with what is wrong", (exported, message) => {
  expect(() => checkRoutes(exported)).toThrow(message);
});
