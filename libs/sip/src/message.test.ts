import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { callIdOf, edit, FAULTS, readFaulty, readMessage, writeAck, writeCancel, writeResponse, type Message } from "./index.ts";

const lines = (...all: readonly string[]): string => `${all.join("\r\n")}\r\n\r\n`;

const INVITE = `${lines(
  "INVITE sip:bob@biloxi.example.com SIP/2.0",
  "v: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds , SIP/2.0/TCP [2001:db8::9:1]:5070;branch=z9hG4bKb;received=10.0.0.1;rport=4000",
  "Via: SIP/2.0/UDP third.example.com",
  'f: "Alice, \\"A\\" <x>" <sip:alice@atlanta.example.com;x=1>;tag=1928301774',
  "t: Bob <sip:bob@biloxi.example.com>",
  "i: a84b4c76e66710@pc33.atlanta.example.com",
  "CSEQ: 314159  INVITE",
  "Max-Forwards: 70",
  "Route: <sip:one.example.com;lr>, <sip:two.example.com;lr>",
  "Subject: lunch",
  "  or dinner,",
  "\ttonight",
  "Route: <sip:three.example.com>",
  "m: sip:alice@pc33.atlanta.example.com;expires=60",
  "Require: 100rel, timer",
  "RAck: 1 2 INVITE",
  "Replaces: 98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff;early-only",
  "X-Unknown:   kept as it is  ",
  "l: 4",
)}v=0\n`;

function read(text: string): Message {
  const found = readMessage(text);
  if (!found.ok) throw new Error(found.fault.detail);
  return found.value;
}

describe("reading", () => {
  const message = read(INVITE);
  test("start line, compact names, any case, folding, lists and quoted strings", () => {
    expect([message.method, message.requestUri, message.callId, message.cseq]).toEqual([
      "INVITE",
      "sip:bob@biloxi.example.com",
      "a84b4c76e66710@pc33.atlanta.example.com",
      { number: 314_159, method: "INVITE" },
    ]);
    expect(message.vias.map((via) => [via.transport, via.host, via.port, via.branch, via.received, via.rport])).toEqual([
      ["UDP", "pc33.atlanta.example.com", undefined, "z9hG4bK776asdhds", undefined, undefined],
      ["TCP", "2001:db8::9:1", 5070, "z9hG4bKb", "10.0.0.1", 4000],
      ["UDP", "third.example.com", undefined, "", undefined, undefined],
    ]);
    expect([message.from.display, message.from.uri, message.fromTag, message.toTag]).toEqual([
      'Alice, "A" <x>',
      "sip:alice@atlanta.example.com;x=1",
      "1928301774",
      "",
    ]);
    expect(message.header("Subject")).toBe("lunch or dinner, tonight");
    expect(message.routes.map(({ uri }) => uri)).toEqual(["sip:one.example.com;lr", "sip:two.example.com;lr", "sip:three.example.com"]);
    // RFC 3261 §20.10: without angle brackets the parameters are the header's.
    expect([message.contact?.uri, message.contact?.params.get("expires")]).toEqual(["sip:alice@pc33.atlanta.example.com", "60"]);
    expect([message.require, message.maxForwards, message.body, message.fault()]).toEqual([["100rel", "timer"], 70, "v=0\n", undefined]);
    expect(message.rack).toEqual({ response: 1, cseq: 2, method: "INVITE" });
    expect(message.replaces).toEqual({ callId: "98732@sip.example.com", fromTag: "r33th4x0r", toTag: "ff87ff", earlyOnly: true });
  });
  test("bytes beyond Content-Length are not part of the message", () => {
    expect(read(`${INVITE}garbage`).body).toBe("v=0\n");
    expect(edit(read(`${INVITE}garbage`)).toString()).toBe(INVITE);
  });
  test("a message with bare line feeds throughout", () => {
    expect(read(INVITE.replaceAll("\r\n", "\n").replace("l: 4", "l: 4")).header("Subject")).toBe("lunch or dinner, tonight");
  });
  test("the scan for the Call-ID finds what reading finds", () => {
    expect(callIdOf(INVITE)).toBe(message.callId);
    expect(callIdOf(INVITE.replace("i: a84b4c76e66710@", "Call-Id :\r\n  folded"))).toBe("foldedpc33.atlanta.example.com");
    expect(callIdOf(INVITE.replace("i: ", "x: "))).toBeUndefined();
  });
});

describe("faults", () => {
  const cases: readonly (readonly [keyof typeof FAULTS, string])[] = [
    ["CARILLON_SIP_TOO_LARGE", INVITE.padEnd(65_537)],
    ["CARILLON_SIP_TOO_MANY_HEADERS", INVITE.replace("l: 4", `${"X: 1\r\n".repeat(256)}l: 4`)],
    ["CARILLON_SIP_START_LINE", INVITE.replace("INVITE sip:bob@biloxi.example.com SIP/2.0", "INVITE  SIP/2.0")],
    ["CARILLON_SIP_VERSION", INVITE.replace("SIP/2.0\r", "SIP/3.0\r")],
    ["CARILLON_SIP_LINE_END", INVITE.slice(0, 200)],
    ["CARILLON_SIP_HEADER_LINE", INVITE.replace("Subject: lunch", "Subject lunch")],
    ["CARILLON_SIP_NO_VIA", INVITE.replaceAll(/^(?:v|Via): .*\r\n/gm, "")],
    ["CARILLON_SIP_BAD_VIA", INVITE.replace("v: SIP/2.0/UDP", "v: SIP/2.0")],
    ["CARILLON_SIP_NO_FROM", INVITE.replace(/^f: .*\r\n/m, "")],
    ["CARILLON_SIP_NO_TO", INVITE.replace(/^t: .*\r\n/m, "")],
    ["CARILLON_SIP_NO_CALL_ID", INVITE.replace(/^i: .*\r\n/m, "i:\r\n")],
    ["CARILLON_SIP_BAD_CSEQ", INVITE.replace("314159", "4294967296")],
    ["CARILLON_SIP_BAD_CSEQ", INVITE.replace("314159  INVITE", "1 BYE")],
    ["CARILLON_SIP_BAD_CONTENT_LENGTH", INVITE.replace("l: 4", "l: 5")],
    ["CARILLON_SIP_BAD_CONTENT_LENGTH", INVITE.replace("l: 4", "l: 4\r\nl: 3")],
  ];
  test.each(cases)("%s", (code, text) => {
    const found = readMessage(text);
    expect(found.ok ? "" : found.fault.code).toBe(code);
  });
  test.each([
    ["CARILLON_SIP_BAD_URI", INVITE.replace("sip:bob@biloxi.example.com SIP", "sip: SIP")],
    ["CARILLON_SIP_BAD_ADDRESS", INVITE.replace("t: Bob <sip:bob@biloxi.example.com>", "t: Bob <sip:bob")],
    ["CARILLON_SIP_BAD_NUMBER", INVITE.replace("Max-Forwards: 70", "Max-Forwards: many")],
  ])("%s is found where the proxy looks closer", (code, text) => {
    expect(read(text).fault()?.code).toBe(code);
  });
  test("a request of another version can still be answered", () => {
    const faulty = readFaulty(INVITE.replace("SIP/2.0\r", "SIP/3.0\r"));
    expect(faulty?.topVia.branch).toBe("z9hG4bK776asdhds");
    expect(read(writeResponse(faulty!, 505)).status).toBe(505);
  });
});

describe("editing", () => {
  const message = read(INVITE);
  test("leaves every byte that is not meant", () => {
    const text = edit(message).requestUri("sip:bob@192.0.2.4").prepend("Via", "SIP/2.0/UDP p;branch=z9hG4bKp").replace("Max-Forwards", "69").toString();
    expect(text).toBe(
      INVITE.replace("INVITE sip:bob@biloxi.example.com", "INVITE sip:bob@192.0.2.4")
        .replace("v: SIP", "Via: SIP/2.0/UDP p;branch=z9hG4bKp\r\nv: SIP")
        .replace("Max-Forwards: 70", "Max-Forwards: 69"),
    );
  });
  test("combines a new first Via with a change of the one that was first", () => {
    const changed = read(edit(message).prepend("Via", "SIP/2.0/UDP new").replaceFirst("Via", "SIP/2.0/UDP old;received=1.2.3.4").toString());
    expect(changed.vias.map(({ host, received }) => [host, received])).toEqual([
      ["new", undefined],
      ["old", "1.2.3.4"],
      ["2001:db8::9:1", "10.0.0.1"],
      ["third.example.com", undefined],
    ]);
  });
  test("drops values across lines, and lines that lose all their values", () => {
    expect(read(edit(message).dropFirst("Route", 1).toString()).routes.map(({ uri }) => uri)).toEqual(["sip:two.example.com;lr", "sip:three.example.com"]);
    expect(read(edit(message).dropFirst("Route", 2).toString()).headers("Route")).toEqual(["<sip:three.example.com>"]);
    expect(read(edit(message).dropFirst("Route", 3).toString()).headers("Route")).toEqual([]);
    expect(read(edit(message).dropValue("Route", 2).replaceValue("Route", 0, "<sip:x>").toString()).routes.map(({ uri }) => uri)).toEqual([
      "sip:x",
      "sip:two.example.com;lr",
    ]);
  });
  test("replaces a body and its length", () => {
    const changed = read(edit(message).body("hello", "text/plain").toString());
    expect([changed.body, changed.header("Content-Length"), changed.contentType]).toEqual(["hello", "5", "text/plain"]);
  });
  test("ACK and CANCEL follow their INVITE", () => {
    const ack = read(writeAck(message, read(writeResponse(message, 486, { toTag: "t9" }))));
    expect([ack.method, ack.vias.length, ack.topVia.branch, ack.toTag, ack.cseq.number, ack.routes.length]).toEqual([
      "ACK",
      1,
      "z9hG4bK776asdhds",
      "t9",
      314_159,
      3,
    ]);
    const cancel = read(writeCancel(message));
    expect([cancel.method, cancel.toTag, cancel.cseq]).toEqual(["CANCEL", "", { number: 314_159, method: "CANCEL" }]);
  });
});

const name = fc.constantFrom("Via", "v", "X-Any", "Contact", "Route", "Subject", "i2");
const value = fc.string({ unit: fc.constantFrom(...'abc,;<>"\\ =:@[]%\u00e9\u00ff1'.split("")), maxLength: 40 });

test("reading and writing without a change gives the same bytes", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 12 }), fc.string({ unit: "binary-ascii", maxLength: 50 }), (headers, body) => {
      const extra = headers.map(([key, text]) => `${key}: ${text}\r\n`).join("");
      const text = `${INVITE.slice(0, INVITE.indexOf("l: 4"))}${extra}Content-Length: ${body.length}\r\n\r\n${body}`;
      const found = readMessage(text);
      expect(found.ok && edit(found.value).toString()).toBe(text);
      if (found.ok)
        expect(
          edit(read(edit(found.value).prepend("Via", "SIP/2.0/UDP x").toString()))
            .dropFirst("Via")
            .toString(),
        ).toBe(text);
    }),
  );
});
