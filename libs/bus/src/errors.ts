export type BusErrorCode = "CARILLON_BUS_NO_RESPONDERS" | "CARILLON_BUS_TIMEOUT" | "CARILLON_BUS_CLOSED" | "CARILLON_BUS_UNAVAILABLE";

export class BusError extends Error {
  readonly code: BusErrorCode;

  constructor(code: BusErrorCode, sentence: string, cause?: unknown) {
    super(`${code}: ${sentence}`, cause === undefined ? undefined : { cause });
    this.name = "BusError";
    this.code = code;
  }
}
