import { expect, test } from "vitest";
import { hostPort, readUri, sameUri, type Uri } from "./index.ts";

function uri(text: string): Uri {
  const read = readUri(text);
  if (!read.ok) throw new Error(read.fault.detail);
  return read.value;
}

test("takes a URI apart", () => {
  const { scheme, user, password, host, port, params, headers } = uri("sips:al;ice%40:secret@[2001:db8::1]:5061;transport=TCP;lr?subject=x&priority=urgent");
  expect({ scheme, user, password, host, port, params: [...params], headers }).toEqual({
    scheme: "sips",
    user: "al;ice%40",
    password: "secret",
    host: "2001:db8::1",
    port: 5061,
    params: [
      ["transport", "TCP"],
      ["lr", ""],
    ],
    headers: "subject=x&priority=urgent",
  });
  expect(uri("tel:+1-201-555-0123").scheme).toBe("tel");
  expect([hostPort("::1", 5060), hostPort("a.example", undefined)]).toEqual(["[::1]:5060", "a.example"]);
});

test.each(["", "sip", "sip:", "sip:@host", "sip:a@", "sip:a@ho st", "sip:a@host:99999", "sip:a@[::1", "1sip:a@b", "sip:a@b\u0000"])("refuses %j", (text) => {
  expect(readUri(text).ok).toBe(false);
});

// The examples of RFC 3261 §19.1.4.
test.each([
  ["sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"],
  ["sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"],
  ["sip:carol@chicago.com", "sip:carol@chicago.com;security=on"],
  ["sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"],
  ["sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x"],
])("%s is the same as %s", (a, b) => {
  expect([sameUri(uri(a), uri(b)), sameUri(uri(b), uri(a))]).toEqual([true, true]);
});

test.each([
  ["SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"],
  ["sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"],
  ["sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"],
  ["sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"],
  ["sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"],
  ["sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"],
  ["sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"],
])("%s is not the same as %s", (a, b) => {
  expect([sameUri(uri(a), uri(b)), sameUri(uri(b), uri(a))]).toEqual([false, false]);
});
