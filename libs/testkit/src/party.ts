import { createSocket, type Socket } from "node:dgram";
import { randomBytes } from "node:crypto";
import { edit, readMessage, writeRequest, writeResponse, type Message } from "@carillon/sip";
import { until } from "./until.ts";

/** A message as a party saw it. */
export interface Seen {
  readonly message: Message;
  readonly atMs: number;
}

/** A phone for tests, over UDP on loopback: scripted by the test, strict where RFC 3261 is. */
export interface Party {
  readonly port: number;
  readonly uri: string;
  /** All requests and responses that came, in order. */
  readonly seen: readonly Seen[];
  /** What answers in-dialog OPTIONS; undefined: nothing does. */
  pingStatus: number | undefined;
  /** Whether a BYE is answered. */
  answersBye: boolean;
  send(text: string): void;
  /** The first message from `from` (an index into `seen`) on for which `wanted` is true. */
  receive(what: string, wanted: (message: Message) => boolean, limitMs?: number, from?: number): Promise<Seen>;
  close(): void;
}

export interface PartyOptions {
  /** Port that messages go to. */
  readonly proxyPort: number;
}

/** Opens a party. It answers OPTIONS and BYE by itself, as told. */
export function openParty(options: PartyOptions): Promise<Party> {
  const socket: Socket = createSocket("udp4");
  const seen: Seen[] = [];
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(0, "127.0.0.1", () => {
      const { port } = socket.address();
      const party: Party = {
        port,
        uri: `sip:party@127.0.0.1:${port}`,
        seen,
        pingStatus: 200,
        answersBye: true,
        send: (text) => socket.send(Buffer.from(text, "latin1"), options.proxyPort, "127.0.0.1"),
        receive: (what, wanted, limitMs = 10_000, from = 0) => until(what, () => seen.slice(from).find(({ message }) => wanted(message)), limitMs),
        close: () => socket.close(),
      };
      socket.on("message", (bytes) => {
        const read = readMessage(bytes.toString("latin1"));
        if (!read.ok) return;
        const { value: message } = read;
        seen.push({ message, atMs: performance.now() });
        if (message.method === "OPTIONS" && message.isRequest && party.pingStatus !== undefined) party.send(writeResponse(message, party.pingStatus));
        if (message.method === "BYE" && message.isRequest && party.answersBye) party.send(writeResponse(message, 200));
      });
      resolve(party);
    });
  });
}

/** A call between two parties through the proxy, set up to its ACK. */
export interface StandingCall {
  readonly callId: string;
  readonly caller: Party;
  readonly callee: Party;
  /** The INVITE as the callee got it, and the 2xx as the caller got it. */
  readonly invite: Message;
  readonly answer: Message;
  readonly answeredAtMs: number;
  /** Hangs up from one side; CSeq as that side counts it. */
  hangUp(by: "caller" | "callee"): Promise<void>;
}

const branch = (): string => `z9hG4bK${randomBytes(8).toString("hex")}`;

export function inviteOf(caller: Party, targetUri: string, callId: string, headers: readonly (readonly [string, string])[] = []): string {
  return writeRequest({
    method: "INVITE",
    requestUri: targetUri,
    vias: [`SIP/2.0/UDP 127.0.0.1:${caller.port};branch=${branch()};rport`],
    from: `<${caller.uri}>;tag=caller-${callId}`,
    to: `<${targetUri}>`,
    callId,
    cseq: 1,
    headers: [["Contact", `<${caller.uri}>`], ...headers],
  });
}

/** INVITE, 180, 200, ACK. */
export async function setUpCall(caller: Party, callee: Party, headers: readonly (readonly [string, string])[] = []): Promise<StandingCall> {
  const callId = randomBytes(8).toString("hex");
  const ofCall = (message: Message): boolean => message.callId === callId;
  caller.send(inviteOf(caller, callee.uri, callId, headers));
  const { message: invite } = await callee.receive("INVITE at the callee", (message) => ofCall(message) && message.method === "INVITE");
  const toTag = `callee-${callId}`;
  callee.send(writeResponse(invite, 180, { toTag, headers: [["Contact", `<${callee.uri}>`]] }));
  await caller.receive("180 at the caller", (message) => ofCall(message) && message.status === 180);
  callee.send(writeResponse(invite, 200, { toTag, headers: [["Contact", `<${callee.uri}>`]] }));
  const { message: answer, atMs } = await caller.receive(
    "200 at the caller",
    (message) => ofCall(message) && message.status === 200 && message.method === "INVITE",
  );
  // What other hops recorded is theirs to take out again: a party sends what reaches the proxy.
  const routes = answer.recordRoutes.filter(({ uri }) => uri.includes(";did=")).map(({ text }) => text);
  const inDialog = (method: "ACK" | "BYE", by: "caller" | "callee", cseq: number): string => {
    const from = by === "caller" ? caller : callee;
    const to = by === "caller" ? callee : caller;
    return writeRequest({
      method,
      requestUri: to.uri,
      vias: [`SIP/2.0/UDP 127.0.0.1:${from.port};branch=${branch()};rport`],
      routes: by === "caller" ? routes.toReversed() : routes,
      from: by === "caller" ? answer.from.text : answer.to.text,
      to: by === "caller" ? answer.to.text : answer.from.text,
      callId,
      cseq,
    });
  };
  caller.send(inDialog("ACK", "caller", 1));
  await callee.receive("ACK at the callee", (message) => ofCall(message) && message.method === "ACK");
  return {
    callId,
    caller,
    callee,
    invite,
    answer,
    answeredAtMs: atMs,
    hangUp: async (by) => {
      const from = by === "caller" ? caller : callee;
      from.send(inDialog("BYE", by, by === "caller" ? 2 : 1));
      await from.receive("200 to the BYE", (message) => ofCall(message) && message.status === 200 && message.method === "BYE");
    },
  };
}

/** The text with its first header of that name replaced: for messages that are wrong on purpose. */
export function withHeader(text: string, name: string, value: string): string {
  const read = readMessage(text);
  return read.ok ? edit(read.value).replace(name, value).toString() : text;
}
