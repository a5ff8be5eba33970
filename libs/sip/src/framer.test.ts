import fc from "fast-check";
import { expect, test } from "vitest";
import { StreamFramer, type Frame } from "./index.ts";

const message = (body: string): string => `MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c\r\nl: ${body.length}\r\n\r\n${body}`;

function framesOf(chunks: readonly string[]): readonly Frame[] {
  const framer = new StreamFramer({ maxBytes: 4_096 });
  return chunks.flatMap((chunk) => framer.push(chunk));
}

test("any way of cutting the stream gives the same messages", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary-ascii", maxLength: 30 }), { maxLength: 5 }), fc.array(fc.nat({ max: 400 })), (bodies, cuts) => {
      const stream = bodies.map((body) => message(body)).join("");
      const places = [...new Set([0, ...cuts.filter((cut) => cut < stream.length), stream.length])].toSorted((a, b) => a - b);
      const chunks = places.slice(1).map((end, at) => stream.slice(places[at], end));
      expect(framesOf(chunks)).toEqual(bodies.map((body) => ({ kind: "message", text: message(body) })));
    }),
  );
});

test("pings and line ends between messages are the same however the stream is cut", () => {
  const piece = fc.oneof(
    fc.constantFrom("\r\n\r\n", "\r\n"),
    fc.string({ unit: fc.constantFrom("\r", "\n", "a", "\r\n\r\n"), maxLength: 8 }).map((body) => message(body)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.array(fc.nat({ max: 500 })), (pieces, cuts) => {
      // A message at the end decides about line ends that might be half a ping.
      const stream = [...pieces, message("end")].join("");
      const places = [...new Set([0, ...cuts.filter((cut) => cut < stream.length), stream.length])].toSorted((a, b) => a - b);
      expect(framesOf(places.slice(1).map((end, at) => stream.slice(places[at], end)))).toEqual(framesOf([stream]));
      expect(framesOf(stream.split(""))).toEqual(framesOf([stream]));
    }),
  );
});

test("a double CRLF between messages is a ping, a single one is nothing", () => {
  expect(
    framesOf([`\r\n\r\n${message("x")}\r\n${message("y")}`, "\r\n", "\r\n"]).map((frame) => (frame.kind === "message" ? frame.text.slice(-1) : frame.kind)),
  ).toEqual(["ping", "x", "y", "ping"]);
});

test.each([
  ["CARILLON_SIP_NO_CONTENT_LENGTH", "MESSAGE sip:a@b SIP/2.0\r\nVia: x\r\n\r\n"],
  ["CARILLON_SIP_BAD_CONTENT_LENGTH", "MESSAGE sip:a@b SIP/2.0\r\nContent-Length: -1\r\n\r\n"],
  ["CARILLON_SIP_TOO_LARGE", "MESSAGE sip:a@b SIP/2.0\r\nContent-Length: 5000\r\n\r\n"],
  ["CARILLON_SIP_TOO_LARGE", "x".repeat(5_000)],
])("%s closes the stream", (code, stream) => {
  expect(framesOf([stream, message("after")]).map((frame) => (frame.kind === "fault" ? frame.fault.code : frame.kind))).toEqual([code]);
});
