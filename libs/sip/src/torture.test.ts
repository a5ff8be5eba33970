// Ideas of RFC 4475, the torture tests, written anew: what is odd but valid is read, what is invalid has its fault.
import { describe, expect, test } from "vitest";
import { callIdOf, edit, readMessage, readUri, type FaultCode, type Message } from "./index.ts";

const lines = (...all: readonly string[]): string => `${all.join("\r\n")}\r\n\r\n`;
const VIA = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1";
const FROM = "From: <sip:caller@example.net>;tag=1";
const TO = "To: <sip:j.user@example.com>";
const CALL_ID = "Call-ID: torture.1";
const request = (method: string, ...more: readonly string[]): string =>
  lines(`${method} sip:j.user@example.com SIP/2.0`, VIA, FROM, TO, CALL_ID, `CSeq: 8 ${method}`, ...more);

function read(text: string): Message {
  const found = readMessage(text);
  if (!found.ok) throw new Error(`${found.fault.detail}: ${text}`);
  expect(edit(found.value).toString()).toBe(text.slice(0, found.value.end));
  expect(callIdOf(text)).toBe(found.value.callId);
  return found.value;
}

describe("odd but valid", () => {
  test("§3.1.1.1: a short tortuous INVITE", () => {
    const message = read(
      lines(
        "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0",
        "TO :",
        " sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
        'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>',
        "  ;",
        "  tag = 98asjd8",
        "MaX-fOrWaRdS: 0068",
        "Call-ID: wsinv.ndaksdj@192.0.2.1",
        "Content-Length   : 0",
        "cseq: 0009",
        "  INVITE",
        "Via  : SIP  /   2.0",
        " /UDP",
        "    192.0.2.2;branch=390skdjuw",
        "s :",
        "NewFangledHeader:   newfangled value",
        " continued newfangled value",
        "UnknownHeaderWithUnusualValue: ;;,,;;,;",
        "Content-Type: application/sdp",
        "Route:",
        " <sip:services.example.com;lr;unknownwith=value;unknown-no-value>",
        "v:  SIP  / 2.0  / TCP     spindle.example.com   ;",
        "  branch  =   z9hG4bK9ikj8  ,",
        " SIP  /    2.0   / UDP  192.168.255.111   ; branch=",
        " z9hG4bK30239",
        'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =',
        "      newvalue ;",
        "  secondparam ; q = 0.33",
      ),
    );
    expect([message.toTag, message.fromTag, message.from.display, message.maxForwards, message.cseq.number]).toEqual([
      "1918181833n",
      "98asjd8",
      'J Rosenberg \\"',
      68,
      9,
    ]);
    expect(message.vias.map(({ transport, host, branch }) => [transport, host, branch])).toEqual([
      ["UDP", "192.0.2.2", "390skdjuw"],
      ["TCP", "spindle.example.com", "z9hG4bK9ikj8"],
      ["UDP", "192.168.255.111", "z9hG4bK30239"],
    ]);
    expect([message.contact?.display, message.contact?.params.get("newparam"), message.contact?.params.get("q")]).toEqual([
      'Quoted string ""',
      "newvalue",
      "0.33",
    ]);
    expect([message.routes[0]?.uri, message.fault()]).toEqual(["sip:services.example.com;lr;unknownwith=value;unknown-no-value", undefined]);
  });

  test("§3.1.1.2: every character that a token, a user and a quoted string may hold", () => {
    const method = "!interesting-Method0123456789_*+`.%indeed'~";
    const user = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*";
    // Longer than 64 characters is refused: a limit of ours.
    expect(readMessage(request("M".repeat(65))).ok).toBe(false);
    const message = read(request(method).replace("sip:j.user@", `sip:${user}:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@`));
    const uri = readUri(message.requestUri);
    expect(message.method).toBe(method);
    expect(uri.ok && [uri.value.user, uri.value.password, uri.value.host]).toEqual([user, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)", "example.com"]);
  });

  test("§3.1.1.3: percent signs that are no escapes stay as they are", () => {
    const message = read(request("REGISTER", "Contact: <sip:%Z%45@192.0.2.1;x=%2541>").replaceAll("REGISTER", "RE%47IST%45R"));
    expect([message.method, message.contact?.uri]).toEqual(["RE%47IST%45R", "sip:%Z%45@192.0.2.1;x=%2541"]);
  });

  test("§3.1.1.4: an escaped null in a URI", () => {
    expect(read(request("OPTIONS").replace("j.user@", "null-%00-null@")).fault()).toBeUndefined();
  });

  test("§3.1.1.6: no blank between display name and bracket", () => {
    expect(read(request("OPTIONS").replace("From: <", "From: caller<")).from).toMatchObject({ display: "caller", uri: "sip:caller@example.net", tag: "1" });
  });

  test("§3.1.1.7: long values", () => {
    const message = read(request("OPTIONS", `Contact: <sip:${"amazinglylongcallername".repeat(20)}@example.net>`, `Unknown: ${"x".repeat(9_000)}`));
    expect([message.contact?.uri.length, message.header("Unknown")?.length]).toEqual([476, 9_000]);
  });

  test("§3.1.1.8 and §3.1.1.9: what follows the message, and a multipart body, are not looked into", () => {
    const body = "--7a\r\n\r\nVia: SIP/2.0/UDP x\r\nCall-ID: another\r\n--7a--\u0000\u00ff";
    const message = read(request("MESSAGE", `Content-Length: ${body.length}`) + body + request("INVITE"));
    expect([message.body, message.callId, message.vias.length]).toEqual([body, "torture.1", 1]);
  });

  test("§3.1.1.11: headers in any order, Via last", () => {
    expect(read(lines("OPTIONS sip:a SIP/2.0", "l: 0", CALL_ID, TO, "CSeq: 8 OPTIONS", FROM, "v: SIP/2.0/WS [::1]:80;branch=z9hG4bK1")).topVia.host).toBe(
      "::1",
    );
  });

  test("§3.1.1.12 and §3.1.1.13: any reason phrase, and none", () => {
    const head = [VIA, FROM, TO, CALL_ID, "CSeq: 8 INVITE"];
    expect(read(lines("SIP/2.0 200 = 2**3 * 5**2 \u00d0\u00bd\u00d0\u00be", ...head)).reason).toBe("= 2**3 * 5**2 \u00d0\u00bd\u00d0\u00be");
    expect([read(lines("SIP/2.0 100 ", ...head)).reason, read(lines("SIP/2.0 100", ...head)).status]).toEqual(["", 100]);
  });
});

describe("invalid", () => {
  const cases: readonly (readonly [string, FaultCode, string])[] = [
    ["§3.1.2.1 a Via that names no host", "CARILLON_SIP_BAD_VIA", request("INVITE").replace("192.0.2.1;", ";;,;,,;")],
    ["§3.1.2.2 a Content-Length beyond what came", "CARILLON_SIP_BAD_CONTENT_LENGTH", request("INVITE", "Content-Length: 9999")],
    ["§3.1.2.3 a negative Content-Length", "CARILLON_SIP_BAD_CONTENT_LENGTH", request("INVITE", "Content-Length: -999")],
    ["§3.1.2.4 a CSeq that overflows", "CARILLON_SIP_BAD_CSEQ", request("REGISTER").replace("CSeq: 8", "CSeq: 36893488147419103232")],
    ["§3.1.2.6 a response whose CSeq and status overflow", "CARILLON_SIP_START_LINE", request("INVITE").replace(/^.*/, "SIP/2.0 4294967301 better not")],
    ["§3.1.2.12 blanks in front of the Request-Line", "CARILLON_SIP_START_LINE", ` ${request("INVITE")}`],
    ["§3.1.2.16 another version of SIP", "CARILLON_SIP_VERSION", request("OPTIONS").replace("SIP/2.0\r", "SIP/7.0\r")],
    ["§3.1.2.17 CSeq of another method", "CARILLON_SIP_BAD_CSEQ", request("OPTIONS").replace("8 OPTIONS", "8 INVITE")],
    ["§3.1.2.19 a status that is none", "CARILLON_SIP_START_LINE", request("INVITE").replace(/^.*/, "SIP/2.0 700 odd")],
    ["§3.3.1 without what every request needs", "CARILLON_SIP_NO_FROM", lines("INVITE sip:user@example.com SIP/2.0", VIA, "CSeq: 193942 INVITE")],
    ["§3.3.9 two Content-Lengths that differ", "CARILLON_SIP_BAD_CONTENT_LENGTH", `${request("INVITE", "Content-Length: 1", "l: 2")}ab`],
    ["a folded line before any header", "CARILLON_SIP_HEADER_LINE", request("INVITE").replace("Via", " Via")],
    ["a bare line feed among CRLFs", "CARILLON_SIP_LINE_END", request("INVITE", "X: a\nY: b")],
    ["a Call-ID without a value", "CARILLON_SIP_NO_CALL_ID", request("INVITE").replace(CALL_ID, "Call-ID: \t")],
  ];
  test.each(cases)("%s: %s", (_, code, text) => {
    const found = readMessage(text);
    expect(found.ok ? "read" : found.fault.code).toBe(code);
  });

  const deeper: readonly (readonly [string, FaultCode, string])[] = [
    [
      "§3.1.2.8 brackets around the Request-URI",
      "CARILLON_SIP_BAD_URI",
      request("INVITE").replace("sip:j.user@example.com SIP", "<sip:j.user@example.com> SIP"),
    ],
    ["§3.1.2.9 a Request-URI with blanks", "CARILLON_SIP_BAD_URI", request("INVITE").replace("j.user@example.com SIP", "j.user@example.com; lr SIP")],
    ["§3.1.2.5 an open quote in To", "CARILLON_SIP_BAD_ADDRESS", request("INVITE").replace(TO, 'To: "Mr J. User <sip:j.user@example.com>')],
    ["a Max-Forwards that is negative", "CARILLON_SIP_BAD_NUMBER", request("INVITE", "Max-Forwards: -1")],
    ["a Route that is no address", "CARILLON_SIP_BAD_ADDRESS", request("INVITE", "Route: <sip:a;lr>, <>")],
  ];
  test.each(deeper)("%s: %s", (_, code, text) => {
    expect(read(text).fault()?.code).toBe(code);
  });
});
