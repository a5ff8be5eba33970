import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { edit, readMessage, writeResponse, type Message } from "./index.ts";

const START = "OPTIONS sip:bob@example.com SIP/2.0\r\n";
const NEEDED = "Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n";

function read(text: string): Message {
  const found = readMessage(text);
  if (!found.ok) throw new Error(`${found.fault.detail}: ${text}`);
  return found.value;
}
const withLines = (...lines: readonly string[]): Message => read(`${START}${NEEDED}${lines.map((line) => `${line}\r\n`).join("")}\r\n`);
/** The header lines that came besides the needed ones. */
const added = (text: string): string => text.replace(START, "").replace(NEEDED, "").slice(0, -2);

describe("each change", () => {
  test("startLine and requestUri replace the first line only", () => {
    expect(edit(withLines()).startLine("SIP/2.0 200 OK").toString()).toBe(`SIP/2.0 200 OK\r\n${NEEDED}\r\n`);
    expect(edit(withLines()).requestUri("sip:x").toString()).toBe(`OPTIONS sip:x SIP/2.0\r\n${NEEDED}\r\n`);
  });
  test("prepend goes before the first of its name, or directly behind the start line", () => {
    expect(edit(withLines("Route: <sip:1>")).prepend("Route", "<sip:0>").toString()).toContain("Route: <sip:0>\r\nRoute: <sip:1>\r\n");
    expect(edit(withLines()).prepend("Record-Route", "<sip:0>").toString()).toBe(`${START}Record-Route: <sip:0>\r\n${NEEDED}\r\n`);
  });
  test("of several prepended lines the last one called stands first", () => {
    expect(read(edit(withLines()).prepend("Record-Route", "<sip:in>").prepend("Record-Route", "<sip:out>").toString()).headers("Record-Route")).toEqual([
      "<sip:out>",
      "<sip:in>",
    ]);
  });
  test("append goes after the last of its name, or at the end of the headers, in the order of the calls", () => {
    expect(added(edit(withLines("Route: <sip:1>", "X: 1")).append("Route", "<sip:2>").append("Route", "<sip:3>").toString())).toBe(
      "Route: <sip:1>\r\nRoute: <sip:2>\r\nRoute: <sip:3>\r\nX: 1\r\n",
    );
    expect(added(edit(withLines("X: 1")).append("Y", "2").toString())).toBe("X: 1\r\nY: 2\r\n");
  });
  test("drop takes all lines of the name, folded and compact ones too", () => {
    expect(
      added(
        edit(withLines("Subject: one", "  more", "X: 1", "s: two"))
          .drop("Subject")
          .toString(),
      ),
    ).toBe("X: 1\r\n");
  });
  test("replace keeps the first line with its spelling, and takes further ones away", () => {
    expect(
      added(
        edit(withLines("m: <sip:a>", "  ;x=1", "X: 1", "Contact: <sip:b>"))
          .replace("Contact", "<sip:c>")
          .toString(),
      ),
    ).toBe("m: <sip:c>\r\nX: 1\r\n");
    expect(added(edit(withLines()).replace("Contact", "<sip:c>").toString())).toBe("Contact: <sip:c>\r\n");
  });
  test("dropFirst, dropValue and replaceValue work inside a comma list with quoted commas", () => {
    const message = withLines('Contact: "a, b" <sip:1>, <sip:2;x=",">,<sip:3>');
    expect(added(edit(message).dropFirst("Contact").toString())).toBe('Contact: <sip:2;x=",">, <sip:3>\r\n');
    expect(added(edit(message).dropValue("Contact", 1).toString())).toBe('Contact: "a, b" <sip:1>, <sip:3>\r\n');
    expect(added(edit(message).replaceValue("Contact", 2, "<sip:c>").toString())).toBe('Contact: "a, b" <sip:1>, <sip:2;x=",">, <sip:c>\r\n');
  });
  test("a value that is not there is not missed", () => {
    expect(edit(withLines("Route: <sip:1>")).dropValue("Route", 3).dropFirst("Record-Route").toString()).toBe(withLines("Route: <sip:1>").text);
  });
  test("body replaces body and length, and adds the length where none was said", () => {
    expect(edit(withLines()).body("hi").toString()).toBe(`${START}${NEEDED}Content-Length: 2\r\n\r\nhi`);
  });
  test("a message with bare line feeds keeps them", () => {
    const bare = read(withLines("X: 1").text.replaceAll("\r\n", "\n"));
    expect(edit(bare).prepend("Via", "SIP/2.0/UDP p").append("X", "2").toString()).not.toContain("\r");
  });
});

test("a response to a message with bare line feeds has CRLF throughout", () => {
  const response = writeResponse(read(withLines("Subject: x").text.replaceAll("\r\n", "\n")), 486, { toTag: "t" });
  expect(response.replaceAll("\r\n", "")).not.toContain("\n");
  expect(read(response).toTag).toBe("t");
});

const value = fc.constantFrom("<sip:1;lr>", "<sip:2>", '"x, y" <sip:3>', "sip:4", '<sip:5?a=",">');
const line = fc.oneof(
  { weight: 4, arbitrary: fc.array(value, { minLength: 1, maxLength: 4 }).map((values) => `Route: ${values.join(", ")}`) },
  { weight: 1, arbitrary: fc.constantFrom("Route:", "Route: ,", "route : <sip:6>,, <sip:7>", "Route: <sip:8>,\r\n <sip:9>", "X-Other: 1") },
);

test("values are counted as reading counts them, empty ones left out", () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 6 }), fc.nat({ max: 8 }), (lines, index) => {
      const message = withLines(...lines);
      const before = message.list("Route");
      expect(read(edit(message).dropValue("Route", index).toString()).list("Route")).toEqual(before.filter((_, at) => at !== index));
      expect(read(edit(message).dropFirst("Route", index).toString()).list("Route")).toEqual(before.slice(index));
      expect(read(edit(message).replaceValue("Route", index, "<sip:new>").toString()).list("Route")).toEqual(
        before.map((one, at) => (at === index ? "<sip:new>" : one)),
      );
    }),
  );
});

test("what is added and taken away again leaves every other byte", () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 6 }), (lines) => {
      const message = withLines(...lines);
      const grown = read(edit(message).prepend("Route", "<sip:top>").append("Route", "<sip:last>").append("X-New", "1").toString());
      expect(grown.list("Route")).toEqual(["<sip:top>", ...message.list("Route"), "<sip:last>"]);
      const last = grown.list("Route").length - 1;
      expect(edit(grown).dropFirst("Route").dropValue("Route", last).drop("X-New").toString()).toBe(message.text);
    }),
  );
});
