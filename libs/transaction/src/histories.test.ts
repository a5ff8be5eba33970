import fc from "fast-check";
import { expect, test } from "vitest";
import {
  clientInviteDueAtMs,
  clientNonInviteDueAtMs,
  serverInviteDueAtMs,
  serverNonInviteDueAtMs,
  startClientInvite,
  startClientNonInvite,
  startServerInvite,
  startServerNonInvite,
  stepClientInvite,
  stepClientNonInvite,
  stepServerInvite,
  stepServerNonInvite,
  T1_MS,
  T4_MS,
  TIMER_D_MS,
  type ClientInviteEvent,
  type ClientNonInviteEvent,
  type ServerNonInviteEvent,
} from "./index.ts";

interface Step<S> {
  readonly next: S;
  readonly actions: readonly { readonly kind: string }[];
}

/** Plays events at their instants, and in between whatever falls due. */
class History<S extends { readonly state: string }, E> {
  state: S;
  nowMs = 0;
  readonly actions: { atMs: number; kind: string }[] = [];
  readonly #step: (state: S, event: E | { kind: "time" }, nowMs: number) => Step<S>;
  readonly #due: (state: S) => number;

  constructor(start: S, step: (state: S, event: E | { kind: "time" }, nowMs: number) => Step<S>, due: (state: S) => number) {
    this.state = start;
    this.#step = step;
    this.#due = due;
  }

  give(event: E | { kind: "time" }): void {
    const { next, actions } = this.#step(this.state, event, this.nowMs);
    this.state = next;
    for (const { kind } of actions) this.actions.push({ atMs: this.nowMs, kind });
  }

  run(untilMs: number): void {
    for (let dueAtMs = this.#due(this.state); dueAtMs <= untilMs && dueAtMs !== Infinity; dueAtMs = this.#due(this.state)) {
      this.nowMs = Math.max(this.nowMs, dueAtMs);
      const before = this.state;
      this.give({ kind: "time" });
      if (this.state === before) throw new Error(`nothing was done at ${dueAtMs} in ${before.state}, and it is still due`);
    }
    if (untilMs !== Infinity) this.nowMs = untilMs;
  }

  at(kind: string): readonly number[] {
    return this.actions.filter((action) => action.kind === kind).map(({ atMs }) => atMs);
  }
}

const clientInvite = (reliable: boolean): History<ReturnType<typeof startClientInvite>, ClientInviteEvent> =>
  new History(startClientInvite(reliable, 0), stepClientInvite, clientInviteDueAtMs);
const clientNonInvite = (reliable: boolean): History<ReturnType<typeof startClientNonInvite>, ClientNonInviteEvent> =>
  new History(startClientNonInvite(reliable, 0), stepClientNonInvite, clientNonInviteDueAtMs);
const serverInvite = (reliable: boolean): History<ReturnType<typeof startServerInvite>, Parameters<typeof stepServerInvite>[1]> =>
  new History(startServerInvite(reliable), stepServerInvite, serverInviteDueAtMs);
const serverNonInvite = (reliable: boolean): History<ReturnType<typeof startServerNonInvite>, ServerNonInviteEvent> =>
  new History(startServerNonInvite(reliable), stepServerNonInvite, serverNonInviteDueAtMs);

const respond = (status: number): { kind: "respond"; status: number; message: string } => ({ kind: "respond", status, message: String(status) });
const status = fc.integer({ min: 100, max: 699 });
const clientEvent = fc.oneof(
  { weight: 4, arbitrary: status.map((one) => ({ kind: "response" as const, status: one })) },
  { weight: 1, arbitrary: fc.constant({ kind: "transportError" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "time" as const }) },
);
const timed = <E>(event: fc.Arbitrary<E>): fc.Arbitrary<[number, E][]> => fc.array(fc.tuple(fc.nat({ max: 9_000 }), event), { maxLength: 12 });

test("an INVITE client transaction ends by itself unless it rings, which is timer C's business", () => {
  fc.assert(
    fc.property(fc.boolean(), timed(clientEvent), (reliable, events) => {
      const history = clientInvite(reliable);
      for (const [waitMs, event] of events) {
        history.run(history.nowMs + waitMs);
        history.give(event);
      }
      const lastMs = history.nowMs;
      history.run(Infinity);
      expect(["terminated", "proceeding"]).toContain(history.state.state);
      expect(history.nowMs).toBeLessThanOrEqual(lastMs + Math.max(64 * T1_MS, TIMER_D_MS));
      // It fails once at most.
      expect(history.at("fail").length).toBeLessThanOrEqual(1);
    }),
  );
});

test("a non-INVITE client transaction ends within 64 T1 and T4, with one final response or one failure", () => {
  fc.assert(
    fc.property(fc.boolean(), fc.integer({ min: 1, max: 40_000 }), timed(clientEvent), (reliable, withinMs, events) => {
      const history = new History<ReturnType<typeof startClientNonInvite>, ClientNonInviteEvent>(
        startClientNonInvite(reliable, 0, withinMs),
        stepClientNonInvite,
        clientNonInviteDueAtMs,
      );
      let finals = 0;
      for (const [waitMs, event] of events) {
        history.run(history.nowMs + waitMs);
        const before = history.at("deliver").length;
        history.give(event);
        if (event.kind === "response" && event.status >= 200) finals += history.at("deliver").length - before;
      }
      history.run(Infinity);
      expect(history.state.state).toBe("terminated");
      expect(finals + history.at("fail").length).toBe(1);
      for (const atMs of history.at("fail")) expect(atMs).toBeLessThanOrEqual(Math.min(withinMs, 64 * T1_MS));
    }),
  );
});

test("a non-INVITE server transaction ends 64 T1 after its final response, and repeats only that", () => {
  const event = fc.oneof(status.map(respond), fc.constant({ kind: "request" as const }), fc.constant({ kind: "time" as const }));
  fc.assert(
    fc.property(fc.boolean(), timed(event), (reliable, events) => {
      const history = serverNonInvite(reliable);
      for (const [waitMs, one] of events) {
        history.run(history.nowMs + waitMs);
        history.give(one);
      }
      if (history.state.state === "trying" || history.state.state === "proceeding") history.give(respond(200));
      const lastMs = history.nowMs;
      history.run(Infinity);
      expect(history.state.state).toBe("terminated");
      expect(history.nowMs).toBeLessThanOrEqual(lastMs + 64 * T1_MS);
    }),
  );
});

test("a failure is repeated after 0.5, 1, 2 s and then every 4 s, and given up without an ACK after 32 s", () => {
  const history = serverInvite(false);
  history.give(respond(486));
  history.run(Infinity);
  expect(history.at("send")).toEqual([0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
  expect([history.at("fail"), history.state.state]).toEqual([[32_000], "terminated"]);
});

test("after a provisional response a request is repeated every 4 s", () => {
  const history = clientNonInvite(false);
  history.run(600);
  history.give({ kind: "response", status: 100 });
  history.run(Infinity);
  expect(history.at("send")).toEqual([500, 1_500, 5_500, 9_500, 13_500, 17_500, 21_500, 25_500, 29_500]);
});

test("after a provisional response an INVITE is not repeated, nor given up", () => {
  const history = clientInvite(false);
  history.run(600);
  history.give({ kind: "response", status: 100 });
  history.run(Infinity);
  expect([history.at("send"), history.at("fail"), history.state.state]).toEqual([[500], [], "proceeding"]);
});

test("over a reliable transport no failure is repeated, but its ACK is waited for", () => {
  const history = serverInvite(true);
  history.give(respond(486));
  history.run(Infinity);
  expect([history.at("send"), history.at("fail")]).toEqual([[0], [32_000]]);
});

test("over a reliable transport nothing lingers: timers D, I, J and K are zero", () => {
  const invite = clientInvite(true);
  invite.give({ kind: "response", status: 486 });
  const request = clientNonInvite(true);
  request.give({ kind: "response", status: 200 });
  const acknowledged = serverInvite(true);
  acknowledged.give(respond(486));
  acknowledged.give({ kind: "ack" });
  const answered = serverNonInvite(true);
  answered.give(respond(200));
  for (const history of [invite, request, acknowledged, answered]) {
    history.run(0);
    expect(history.state.state).toBe("terminated");
  }
});

test("over an unreliable one each lingers as long as RFC 3261 says", () => {
  const invite = clientInvite(false);
  invite.give({ kind: "response", status: 486 });
  const request = clientNonInvite(false);
  request.give({ kind: "response", status: 200 });
  const acknowledged = serverInvite(false);
  acknowledged.give(respond(486));
  acknowledged.give({ kind: "ack" });
  const answered = serverNonInvite(false);
  answered.give(respond(200));
  for (const history of [invite, request, acknowledged, answered]) history.run(Infinity);
  expect([invite.nowMs, request.nowMs, acknowledged.nowMs, answered.nowMs]).toEqual([TIMER_D_MS, T4_MS, T4_MS, 64 * T1_MS]);
});
