import fc from "fast-check";
import { expect, test } from "vitest";
import { serverInviteDueAtMs, startServerInvite, stepServerInvite, type ServerInvite, type ServerInviteEvent } from "./server-invite.ts";

const respond = (status: number): ServerInviteEvent => ({ kind: "respond", status, message: String(status) });
function play(reliable: boolean, ...script: [atMs: number, event: ServerInviteEvent][]): { transaction: ServerInvite; sent: string[] } {
  let transaction = startServerInvite(reliable);
  const sent: string[] = [];
  for (const [atMs, event] of script) {
    const { next, actions } = stepServerInvite(transaction, event, atMs);
    transaction = next;
    for (const action of actions) sent.push(`${atMs} ${action.kind}${action.kind === "send" ? ` ${action.message}` : ""}`);
  }
  return { transaction, sent };
}
test("repeats a 404 with doubling intervals until the ACK", () => {
  const { transaction, sent } = play(false, [0, respond(404)], [500, { kind: "time" }], [1500, { kind: "time" }], [1600, { kind: "ack" }]);
  expect(sent).toEqual(["0 send 404", "500 send 404", "1500 send 404"]);
  expect(transaction).toEqual({ state: "confirmed", timerIAtMs: 6600 });
});
test("absorbs an INVITE after a 2xx", () => {
  expect(play(false, [0, respond(200)], [10, { kind: "invite" }]).sent).toEqual(["0 send 200"]);
});
const anyEvent = fc.oneof(
  fc.constant<ServerInviteEvent>({ kind: "invite" }),
  fc.constant<ServerInviteEvent>({ kind: "ack" }),
  fc.constant<ServerInviteEvent>({ kind: "time" }),
  fc.integer({ min: 100, max: 699 }).map(respond),
);
test("every history ends within 64 T1 of its final response", () => {
  fc.assert(
    fc.property(fc.boolean(), fc.array(anyEvent), (reliable, events) => {
      let transaction = startServerInvite(reliable);
      let nowMs = 0;
      for (const event of events) transaction = stepServerInvite(transaction, event, (nowMs += 7)).next;
      transaction = stepServerInvite(transaction, respond(486), nowMs).next;
      const deadlineMs = nowMs + 64 * 500 + 5000;
      while (transaction.state !== "terminated") {
        nowMs = serverInviteDueAtMs(transaction);
        expect(nowMs).toBeLessThanOrEqual(deadlineMs);
        transaction = stepServerInvite(transaction, { kind: "time" }, nowMs).next;
      }
    }),
  );
});
