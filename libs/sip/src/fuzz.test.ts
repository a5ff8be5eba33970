import { expect, test } from "vitest";
import { callIdOf, edit, readFaulty, readMessage, sameUri, readUri, StreamFramer, writeResponse, type Message } from "./index.ts";

const SEED = Number(process.env["SEED"] ?? 20_261_120);
const MESSAGES = 100_000;
const LIMIT_MS = 10;

/** mulberry32: small, seeded, good enough to choose mutations. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const SEEDS = [
  'INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1;rport, SIP/2.0/TCP x\r\nRoute: <sip:r1;lr>,<sip:r2>\r\nRecord-Route: <sip:p;lr;did=1.2>\r\nFrom: "A, \\"B" <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: x@y\r\nCSeq: 1 INVITE\r\nContact: <sip:a@1.2.3.4;transport=tcp>;q=0.5\r\nMax-Forwards: 70\r\nReplaces: a;to-tag=b;from-tag=c\r\nSubject: one\r\n two\r\nContent-Length: 3\r\n\r\nv=0',
  "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a;branch=z9hG4bK2;received=1.1.1.1\r\nv: SIP/2.0/UDP b\r\nf: <sip:a@b>;tag=1\r\nt: sip:b@c;tag=2\r\ni: x\r\nCSeq: 2 BYE\r\nl: 0\r\n\r\n",
  "PRACK sip:a SIP/2.0\nVia: SIP/2.0/UDP a\nFrom: a:b\nTo: c:d\nCall-ID: 1\nCSeq: 3 PRACK\nRAck: 1 2 INVITE\n\n",
];
const PIECES = [
  "\r\n",
  "\n",
  "\r",
  ":",
  ";",
  ",",
  "<",
  ">",
  '"',
  "\\",
  " ",
  "\t",
  "\0",
  "\u00ff",
  "%",
  "@",
  "[",
  "]",
  "=",
  "SIP/2.0",
  "Via: ",
  "999999999999",
  "tag=",
  "<".repeat(2_000),
  '"'.repeat(999),
  ";a=".repeat(1_000),
  ",".repeat(3_000),
  "\r\n ".repeat(800),
];

function mutated(random: () => number): string {
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)]!;
  let text = pick(SEEDS);
  for (let count = Math.floor(random() * 6); count >= 0; count--) {
    const at = Math.floor(random() * text.length);
    const kind = random();
    if (kind < 0.4) text = text.slice(0, at) + pick(PIECES) + text.slice(at);
    else if (kind < 0.6) text = text.slice(0, at) + text.slice(at + Math.floor(random() * 40));
    else if (kind < 0.7) text = text.slice(0, at);
    else if (kind < 0.85) text = text.slice(0, at) + String.fromCharCode(Math.floor(random() * 256)) + text.slice(at + 1);
    else text = text.slice(0, at) + pick(SEEDS).slice(Math.floor(random() * 200));
  }
  return text;
}

function useAll(message: Message): void {
  void [message.topVia, message.vias, message.from, message.to, message.fromTag, message.toTag, message.contacts, message.routes, message.recordRoutes];
  void [
    message.maxForwards,
    message.expires,
    message.require,
    message.proxyRequire,
    message.supported,
    message.rack,
    message.replaces,
    message.referTo,
    message.body,
  ];
  void message.fault();
  const uri = readUri(message.requestUri);
  if (uri.ok) sameUri(uri.value, uri.value);
  edit(message)
    .requestUri("sip:x")
    .prepend("Via", "SIP/2.0/UDP x")
    .replaceFirst("Via", "SIP/2.0/UDP y")
    .dropFirst("Route", 2)
    .replace("Max-Forwards", "1")
    .drop("Subject")
    .toString();
  if (message.isRequest) writeResponse(message, 400, { toTag: "t" });
}

function useText(text: string): void {
  callIdOf(text);
  const read = readMessage(text);
  if (read.ok) {
    useAll(read.value);
    const scanned = callIdOf(text);
    if (scanned !== read.value.callId) throw new Error(`the scan says ${scanned}, reading says ${read.value.callId}`);
  } else {
    const faulty = readFaulty(text);
    if (faulty !== undefined) writeResponse(faulty, read.fault.status);
  }
  const framer = new StreamFramer();
  framer.push(text.slice(0, 50));
  framer.push(text.slice(50));
}

test(`${MESSAGES} mutated messages: no exception escapes, none takes over ${LIMIT_MS} ms (SEED=${SEED})`, () => {
  const random = generator(SEED);
  for (let count = 0; count < MESSAGES; count++) {
    const text = mutated(random);
    const takenMs = (): number => {
      const startedAtMs = performance.now();
      useText(text);
      return performance.now() - startedAtMs;
    };
    try {
      // A pause of the collector or of the machine is not the message's doing: the best of some tries counts.
      let bestMs = takenMs();
      for (let again = 0; bestMs > LIMIT_MS && again < 5; again++) bestMs = Math.min(bestMs, takenMs());
      expect(bestMs).toBeLessThanOrEqual(LIMIT_MS);
    } catch (error) {
      throw new Error(`message ${count} of SEED=${SEED}: ${JSON.stringify(text.slice(0, 500))}`, { cause: error });
    }
  }
});
