import { channel } from "node:diagnostics_channel";
import { connect, errors, headers, type Msg, type NatsConnection, type Subscription as NatsSubscription } from "@nats-io/transport-node";
import type { Bus, BusStatus, Delivery, PublishOptions, SubscribeOptions, Subscription } from "./bus.ts";
import { BusError } from "./errors.ts";

export interface NatsBusOptions {
  /** Servers, as in `CARILLON_NATS_URL`: `nats://user:password@host:port`, comma separated. */
  readonly servers: string;
  /** Shown in the server's monitoring. */
  readonly name: string;
  /** A handler threw (a bug), or the server reported an error. */
  readonly onError: (error: unknown) => void;
  /** Bytes that may wait while there is no connection; beyond it messages are dropped and counted. */
  readonly maxPendingBytes?: number | undefined;
  /** Longest wait for the first connection, milliseconds; after it the attempt rejects. */
  readonly connectWithinMs?: number | undefined;
}

/** Published for each drop: `{ subject }`. */
const droppedChannel = channel("carillon.bus.dropped");

const UNHEARD = "carillon.unheard.";
const MOST_WATCHED = 4_096;

/** Connects to NATS. Rejects with `CARILLON_BUS_UNAVAILABLE` where no server answers in time; once connected it connects again for ever. */
export async function connectNats(options: NatsBusOptions): Promise<Bus> {
  const maxPendingBytes = options.maxPendingBytes ?? 8 * 1024 * 1024;
  const servers = options.servers.split(",").map((one) => new URL(one.includes("://") ? one.trim() : `nats://${one.trim()}`));
  const [first] = servers;
  let connection: NatsConnection;
  try {
    connection = await connect({
      servers: servers.map((one) => one.host),
      name: options.name,
      ...(first?.username === undefined || first.username === "" ? {} : credentials(first)),
      ...(first?.protocol === "tls:" ? { tls: {} } : {}),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 200,
      reconnectJitter: 200,
      pingInterval: 5_000,
      maxPingOut: 2,
      timeout: options.connectWithinMs ?? 5_000,
      ignoreAuthErrorAbort: true,
    });
  } catch (cause) {
    throw new BusError("CARILLON_BUS_UNAVAILABLE", `no NATS server answers at ${servers.map((one) => one.host).join(", ")}`, cause);
  }
  return new NatsBus(connection, options.onError, maxPendingBytes);
}

function credentials(url: URL): { token: string } | { user: string; pass: string } {
  const user = decodeURIComponent(url.username);
  return url.password === "" ? { token: user } : { user, pass: decodeURIComponent(url.password) };
}

class NatsDelivery implements Delivery {
  readonly #message: Msg;

  constructor(message: Msg) {
    this.#message = message;
  }

  get subject(): string {
    return this.#message.subject;
  }

  get payload(): Uint8Array {
    return this.#message.data;
  }

  get traceparent(): string | undefined {
    const trace = this.#message.headers?.get("traceparent");
    return trace === "" ? undefined : trace;
  }

  get wantsAnswer(): boolean {
    const { reply } = this.#message;
    return reply !== undefined && reply !== "" && !reply.startsWith(UNHEARD);
  }

  answer(payload: Uint8Array): void {
    if (this.wantsAnswer) this.#message.respond(payload);
  }
}

class NatsBus implements Bus {
  readonly #connection: NatsConnection;
  readonly #onError: (error: unknown) => void;
  readonly #maxPendingBytes: number;
  readonly #listeners = new Set<(status: BusStatus) => void>();
  /** Publishes whose being unheard somebody wants to know, by serial; the oldest go first. */
  readonly #watched = new Map<number, () => void>();
  readonly #inbox: string;
  readonly #unheard: NatsSubscription;
  #status: BusStatus = "connected";
  #pendingBytes = 0;
  #serial = 0;

  constructor(connection: NatsConnection, onError: (error: unknown) => void, maxPendingBytes: number) {
    this.#connection = connection;
    this.#onError = onError;
    this.#maxPendingBytes = maxPendingBytes;
    this.#inbox = `${UNHEARD}${crypto.randomUUID()}.`;
    this.#unheard = connection.subscribe(`${this.#inbox}*`, {
      callback: (_error, message) => {
        if (message.headers?.code !== 503) return;
        const serial = Number(message.subject.slice(this.#inbox.length));
        const listener = this.#watched.get(serial);
        this.#watched.delete(serial);
        listener?.();
      },
    });
    this.#follow().catch(onError);
  }

  get status(): BusStatus {
    return this.#status;
  }

  onStatus(listener: (status: BusStatus) => void): { stop(): void } {
    this.#listeners.add(listener);
    return { stop: () => void this.#listeners.delete(listener) };
  }

  publish(subject: string, payload: Uint8Array, options?: PublishOptions): void {
    if (this.#connection.isClosed() || this.#connection.isDraining()) {
      droppedChannel.publish({ subject });
      return;
    }
    if (this.#status !== "connected") {
      this.#pendingBytes += payload.length;
      if (this.#pendingBytes > this.#maxPendingBytes) {
        droppedChannel.publish({ subject });
        return;
      }
    }
    if (options === undefined) {
      this.#connection.publish(subject, payload);
      return;
    }
    const { traceparent, onUnheard } = options;
    const sent: { headers?: ReturnType<typeof headers>; reply?: string } = {};
    if (traceparent !== undefined) sent.headers = traced(traceparent);
    if (onUnheard !== undefined) sent.reply = this.#watch(onUnheard);
    this.#connection.publish(subject, payload, sent);
  }

  #watch(onUnheard: () => void): string {
    const serial = ++this.#serial;
    this.#watched.set(serial, onUnheard);
    // Whoever was not told by now was heard: the server answers at once.
    this.#watched.delete(serial - MOST_WATCHED);
    return `${this.#inbox}${serial}`;
  }

  subscribe(subject: string, deliver: (delivery: Delivery) => void, options?: SubscribeOptions): Subscription {
    const subscription = this.#connection.subscribe(subject, {
      ...(options?.queue === undefined ? {} : { queue: options.queue }),
      callback: (error, message) => {
        if (error !== null) return this.#onError(error);
        try {
          deliver(new NatsDelivery(message));
        } catch (thrown) {
          this.#onError(thrown);
        }
      },
    });
    return { stop: () => subscription.unsubscribe() };
  }

  async request(subject: string, payload: Uint8Array, timeoutMs: number, traceparent?: string): Promise<Uint8Array> {
    try {
      const answer = await this.#connection.request(
        subject,
        payload,
        traceparent === undefined ? { timeout: timeoutMs } : { timeout: timeoutMs, headers: traced(traceparent) },
      );
      return answer.data;
    } catch (cause) {
      if (isNoResponders(cause)) throw new BusError("CARILLON_BUS_NO_RESPONDERS", `nobody listens on ${subject}`, cause);
      throw new BusError("CARILLON_BUS_TIMEOUT", `no answer on ${subject} within ${timeoutMs} ms`, cause);
    }
  }

  async flush(timeoutMs: number): Promise<void> {
    await limited(this.#connection.flush(), timeoutMs, "flush");
  }

  async close(): Promise<void> {
    if (this.#connection.isClosed()) return;
    this.#unheard.unsubscribe();
    try {
      await limited(this.#connection.drain(), 2_000, "drain");
    } catch (error) {
      this.#onError(error);
      await this.#connection.close();
    }
  }

  async #follow(): Promise<void> {
    for await (const status of this.#connection.status()) {
      switch (status.type) {
        case "disconnect":
        case "reconnecting":
          this.#change("reconnecting");
          break;
        case "reconnect":
          this.#pendingBytes = 0;
          this.#change("connected");
          break;
        case "close":
          this.#change("closed");
          break;
        case "error":
          this.#onError(status.error);
          break;
        case "update":
        case "ldm":
        case "ping":
        case "staleConnection":
        case "forceReconnect":
        case "slowConsumer":
          break;
      }
    }
    this.#change("closed");
  }

  #change(status: BusStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    for (const listener of this.#listeners) listener(status);
  }
}

function traced(traceparent: string): ReturnType<typeof headers> {
  const made = headers();
  made.set("traceparent", traceparent);
  return made;
}

const isNoResponders = (error: unknown): boolean =>
  error instanceof errors.NoRespondersError || (error instanceof errors.RequestError && error.isNoResponders());

async function limited(promise: Promise<unknown>, limitMs: number, what: string): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new BusError("CARILLON_BUS_TIMEOUT", `NATS ${what} took longer than ${limitMs} ms`)), limitMs);
  });
  try {
    await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
