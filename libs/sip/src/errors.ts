/** What is wrong with something that a peer sent: a value, never thrown. */
export interface Fault {
  readonly code: FaultCode;
  /** The SIP status with which a request of this kind is answered. */
  readonly status: number;
  readonly detail: string;
}

export type Read<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly fault: Fault };

export type FaultCode =
  | "CARILLON_SIP_TOO_LARGE"
  | "CARILLON_SIP_TOO_MANY_HEADERS"
  | "CARILLON_SIP_START_LINE"
  | "CARILLON_SIP_VERSION"
  | "CARILLON_SIP_LINE_END"
  | "CARILLON_SIP_HEADER_LINE"
  | "CARILLON_SIP_NO_VIA"
  | "CARILLON_SIP_BAD_VIA"
  | "CARILLON_SIP_NO_FROM"
  | "CARILLON_SIP_NO_TO"
  | "CARILLON_SIP_NO_CALL_ID"
  | "CARILLON_SIP_BAD_CSEQ"
  | "CARILLON_SIP_BAD_CONTENT_LENGTH"
  | "CARILLON_SIP_BAD_URI"
  | "CARILLON_SIP_BAD_ADDRESS"
  | "CARILLON_SIP_BAD_NUMBER"
  | "CARILLON_SIP_NO_CONTENT_LENGTH";

/** One row per fault: status to answer, sentence. Codes are never reused. */
export const FAULTS: Readonly<Record<FaultCode, readonly [status: number, sentence: string]>> = {
  CARILLON_SIP_TOO_LARGE: [513, "the message is larger than the limit"],
  CARILLON_SIP_TOO_MANY_HEADERS: [513, "the message has more header lines than the limit"],
  CARILLON_SIP_START_LINE: [400, "the start line is neither a request line nor a status line"],
  CARILLON_SIP_VERSION: [505, "the SIP version is not 2.0"],
  CARILLON_SIP_LINE_END: [400, "header lines do not end in CRLF, or the empty line after them is missing"],
  CARILLON_SIP_HEADER_LINE: [400, "a header line has no name or no colon"],
  CARILLON_SIP_NO_VIA: [400, "Via is missing"],
  CARILLON_SIP_BAD_VIA: [400, "the top Via cannot be read"],
  CARILLON_SIP_NO_FROM: [400, "From is missing"],
  CARILLON_SIP_NO_TO: [400, "To is missing"],
  CARILLON_SIP_NO_CALL_ID: [400, "Call-ID is missing or empty"],
  CARILLON_SIP_BAD_CSEQ: [400, "CSeq is missing, not a number below 2^31 and a method, or of another method than the request"],
  CARILLON_SIP_BAD_CONTENT_LENGTH: [400, "Content-Length is not a number, differs between two headers, or is more than what came"],
  CARILLON_SIP_BAD_URI: [400, "a URI cannot be read"],
  CARILLON_SIP_BAD_ADDRESS: [400, "an address cannot be read"],
  CARILLON_SIP_BAD_NUMBER: [400, "a header holds a number that is none"],
  CARILLON_SIP_NO_CONTENT_LENGTH: [400, "Content-Length is missing on a stream"],
};

export function fault(code: FaultCode, found = ""): Fault {
  const [status, sentence] = FAULTS[code];
  return { code, status, detail: found === "" ? sentence : `${sentence}: ${found.slice(0, 80)}` };
}

export const failed = (code: FaultCode, found = ""): { readonly ok: false; readonly fault: Fault } => ({ ok: false, fault: fault(code, found) });
