import {
  builtinRoute,
  Effects,
  newCall,
  nextDueAtMs,
  readCall,
  receive,
  resume,
  routed,
  time,
  type Call,
  type Identity,
  type Policy,
  type RouteRun,
} from "@carillon/proxy";
import { edit, readMessage, writeRequest, writeResponse, type Message } from "@carillon/sip";
import type { Dialled, Json, Routes } from "./routes.ts";
import { checkRoutes, routeName, runRoute, shapeOf, type Doors, type LoadedScript } from "./running.ts";
import { RequestView, ResponseView } from "./views.ts";

/** What a simulated call finds around it. All that is absent answers as if nothing were there. */
export interface Surroundings {
  readonly http?: ((url: string, body: Json | undefined) => { readonly status: number; readonly body: string }) | undefined;
  readonly dispatcher?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly dialplan?: ((plan: string, number: string) => Dialled | undefined) | undefined;
  /** Size of profiles, by `name` or `name/value`. */
  readonly profiles?: Readonly<Record<string, number>> | undefined;
  /** Whether an event of that name is within its rate. */
  readonly rateLimit?: ((name: string) => boolean) | undefined;
}

export interface Invitation {
  readonly method?: string | undefined;
  readonly from?: string | undefined;
  readonly headers?: readonly (readonly [string, string])[] | undefined;
  readonly body?: string | undefined;
  /** Address that it comes from; default 192.0.2.1. */
  readonly source?: string | undefined;
}

/** A branch that has left. */
export interface SimulatedBranch {
  readonly uri: string;
  readonly request: RequestView;
  /** Whether it was cancelled. */
  readonly cancelled: boolean;
}

const CALL_ID = "simulated@192.0.2.1";
const PROXY = "proxy.example.com";
const identity: Identity = { advertised: [{ transport: "udp", host: PROXY, port: 5060 }], names: new Set([PROXY]), ports: new Set([5060]) };
const flowFrom = (host: string): RouteRun["flow"] & object => ({ transport: "udp", ingress: "", connection: "", host, port: 5060 });

/**
 * One call through the proxy core and a script's routes, without a network and on a clock of its own: for a script's own tests. The caller sends, `answer` plays who is
 * called, `wait` lets time pass.
 */
export class SimulatedCall {
  /** Statuses and texts of what went to the caller, in order. */
  readonly upstream: ResponseView[] = [];
  /** Routes that ran, in order, as `request` or `failure.voicemail`. */
  readonly routes: string[] = [];
  /** What scripts logged. */
  readonly logged: string[] = [];
  /** Why routes failed. */
  readonly failures: string[] = [];
  readonly #script: LoadedScript;
  readonly #surroundings: Surroundings;
  readonly #policy: Policy;
  readonly #record = new Map<string, string>();
  #downstream: Message[] = [];
  #call: Call = newCall(CALL_ID, 0);
  #nowMs = 1_000_000;
  #cseq = 0;
  #invite: Message | undefined;

  constructor(routes: Routes, surroundings: Surroundings = {}) {
    this.#script = { name: "simulated", version: "1", routes: checkRoutes(routes) };
    this.#surroundings = surroundings;
    this.#policy = {
      identity,
      route: builtinRoute(identity, { allows: () => true }),
      script: shapeOf(this.#script),
      timerCMs: 180_000,
      dialogKeepMs: 43_200_000,
      seed: 1,
    };
  }

  /** The last response that the caller got; undefined before the first. */
  get last(): ResponseView | undefined {
    return this.upstream.at(-1);
  }

  get statuses(): readonly number[] {
    return this.upstream.map(({ status }) => status);
  }

  /** The INVITEs (or other requests) that have left so far, in order. */
  get branches(): readonly SimulatedBranch[] {
    return this.#downstream
      .filter(({ method }) => method !== "CANCEL" && method !== "ACK")
      .map((request) => ({
        uri: request.requestUri,
        request: new RequestView(request.text),
        cancelled: this.#downstream.some((one) => one.method === "CANCEL" && one.topVia.branch === request.topVia.branch),
      }));
  }

  /** The caller sends an initial request. Resolves when all that follows from it has happened. */
  async request(uri: string, given: Invitation = {}): Promise<void> {
    const method = given.method ?? "INVITE";
    this.#cseq++;
    const text = writeRequest({
      method,
      requestUri: uri,
      vias: [`SIP/2.0/UDP ${given.source ?? "192.0.2.1"}:5060;branch=z9hG4bKcaller${this.#cseq}`],
      from: `<${given.from ?? "sip:alice@example.com"}>;tag=caller`,
      to: `<${uri}>`,
      callId: CALL_ID,
      cseq: this.#cseq,
      headers: [["Contact", "<sip:alice@192.0.2.1>"], ...(given.headers ?? [])],
      body: given.body,
    });
    if (method === "INVITE") this.#invite = messageOf(text);
    await this.#receive(text, given.source ?? "192.0.2.1");
  }

  /** Who is called at a target answers the newest branch to it. Throws where none has left. */
  async answer(uri: string, status: number, given: { readonly headers?: readonly (readonly [string, string])[]; readonly body?: string } = {}): Promise<void> {
    const branch = this.#downstream.findLast((one) => one.method !== "CANCEL" && one.method !== "ACK" && one.requestUri === uri);
    if (branch === undefined) throw new Error(`no branch has left to ${uri}; there are ${this.branches.map((one) => one.uri).join(", ")}`);
    const toTag = `tag-${uri.replaceAll(/\W/g, "")}`;
    await this.#receive(writeResponse(branch, status, { toTag, headers: [["Contact", `<${uri}>`], ...(given.headers ?? [])], body: given.body }), "192.0.2.2");
  }

  /** The caller hangs up before an answer. */
  async cancel(): Promise<void> {
    if (this.#invite === undefined) throw new Error("there is no INVITE to cancel");
    const change = edit(this.#invite).startLine(`CANCEL ${this.#invite.requestUri} SIP/2.0`).replace("CSeq", `${this.#invite.cseq.number} CANCEL`);
    await this.#receive(change.toString(), "192.0.2.1");
  }

  /** Lets time pass, seconds. */
  async wait(seconds: number): Promise<void> {
    const untilMs = this.#nowMs + seconds * 1_000;
    for (let dueAtMs = nextDueAtMs(this.#call); dueAtMs <= untilMs; dueAtMs = nextDueAtMs(this.#call)) {
      this.#nowMs = Math.max(this.#nowMs, dueAtMs);
      await this.#step((fx) => time(this.#call, this.#nowMs, this.#policy, fx));
    }
    this.#nowMs = untilMs;
  }

  /** The process that has the call dies, and another takes over with what was stored. */
  async takeOver(): Promise<void> {
    this.#call = readCall(CALL_ID, 0, new Map(this.#record));
    await this.#step((fx) => resume(this.#call, fx));
  }

  async #receive(text: string, host: string): Promise<void> {
    await this.#step((fx) => receive(this.#call, messageOf(text), flowFrom(host), this.#nowMs, this.#policy, fx));
  }

  async #step(change: (fx: Effects) => void): Promise<void> {
    const fx = new Effects();
    change(fx);
    for (let at = 0; at < fx.fields.length; at += 2) this.#record.set(fx.fields[at] ?? "", fx.fields[at + 1] ?? "");
    for (const field of fx.removed) this.#record.delete(field);
    const asked = new Set(this.#downstream.map((one) => one.text));
    for (const { text } of fx.sendings) {
      const message = messageOf(text);
      if (!message.isRequest) {
        if (message.cseq.method !== "CANCEL") this.upstream.push(new ResponseView(text));
      } else if (!asked.has(text)) this.#downstream.push(message);
    }
    for (const run of fx.runs) {
      this.routes.push(routeName(run));
      const outcome = await runRoute(this.#script, run, this.#doors());
      if (outcome.failed !== undefined) this.failures.push(outcome.failed);
      await this.#step((next) => routed(this.#call, run, outcome, this.#nowMs, this.#policy, next));
    }
  }

  #doors(): Doors {
    const { http, dispatcher, dialplan, profiles, rateLimit } = this.#surroundings;
    return {
      http: async (url, { body }) => {
        if (http === undefined) throw new Error(`no web service answers for ${url}`);
        const answered = http(url, body);
        return { ...answered, json: () => JSON.parse(answered.body) as Json };
      },
      profileSize: async (name, value) => profiles?.[value === undefined ? name : `${name}/${value}`] ?? 0,
      rateLimit: async (name) => rateLimit?.(name) ?? true,
      dialplan: async (plan, number) => dialplan?.(plan, number),
      dispatch: async ({ dispatcher: set }) => dispatcher?.[set] ?? [],
      log: (_level, text) => void this.logged.push(text),
    };
  }
}

function messageOf(text: string): Message {
  const read = readMessage(text);
  if (!read.ok) throw new Error(`${read.fault.detail}: ${text}`);
  return read.value;
}

/** A call that goes through these routes. */
export const simulate = (routes: Routes, surroundings: Surroundings = {}): SimulatedCall => new SimulatedCall(routes, surroundings);
