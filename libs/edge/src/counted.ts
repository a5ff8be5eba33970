/** What the edge counts; a closed list, each a metric label. */
export type EdgeCounted =
  | "received"
  | "sent"
  | "keepalive"
  | "tooShort"
  | "oversized"
  | "noCallId"
  | "flood"
  | "framing"
  | "unacknowledged"
  | "republished"
  | "overflow"
  | "envelopeUnknown"
  | "undeliverable"
  | "responseUndeliverable"
  | "connectionOpened"
  | "connectionClosed"
  | "connectionRefused"
  | "slowPeer"
  | "bug";

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
