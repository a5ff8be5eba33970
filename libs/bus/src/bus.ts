/** What arrives on a subscription. */
export interface Delivery {
  readonly subject: string;
  readonly payload: Uint8Array;
  /** W3C `traceparent` of the publisher, where the publisher's message is sampled. */
  readonly traceparent: string | undefined;
  /** True where the publisher waits for an answer (`request`). */
  readonly wantsAnswer: boolean;
  /** Answers a `request`; does nothing where nobody waits. */
  answer(payload: Uint8Array): void;
}

export interface PublishOptions {
  readonly traceparent?: string | undefined;
  /**
   * Called at most once, soon, if nobody was subscribed to the subject when the message arrived (NATS: no responders).
   * Best effort: after a lost connection it is not called.
   */
  readonly onUnheard?: (() => void) | undefined;
}

export interface SubscribeOptions {
  /** Queue group: each message goes to one of its members. */
  readonly queue?: string | undefined;
}

export interface Subscription {
  /** No delivery happens after this returns. */
  stop(): void;
}

export type BusStatus = "connected" | "reconnecting" | "closed";

/**
 * The door to NATS. Messages of one publisher to one subject arrive in order, at most once.
 * Handlers run synchronously, one message at a time; a handler that throws is counted and logged by the bus, and harms no other delivery.
 */
export interface Bus {
  readonly status: BusStatus;
  onStatus(listener: (status: BusStatus) => void): Subscription;
  /** Queues; what one turn of the event loop published leaves together. Never throws for a lost connection: beyond `maxPendingBytes` messages are dropped and counted. */
  publish(subject: string, payload: Uint8Array, options?: PublishOptions): void;
  /** `subject` may hold NATS wildcards (`*`, `>`). */
  subscribe(subject: string, deliver: (delivery: Delivery) => void, options?: SubscribeOptions): Subscription;
  /** Resolves with the first answer. Rejects with `CARILLON_BUS_NO_RESPONDERS` or `CARILLON_BUS_TIMEOUT`. */
  request(subject: string, payload: Uint8Array, timeoutMs: number, traceparent?: string): Promise<Uint8Array>;
  /** Resolves when the server has seen all that was published and subscribed before. Rejects after `timeoutMs` (`CARILLON_BUS_TIMEOUT`). */
  flush(timeoutMs: number): Promise<void>;
  /** Stops subscriptions, sends what is queued, closes; at most 2 s. */
  close(): Promise<void>;
}
