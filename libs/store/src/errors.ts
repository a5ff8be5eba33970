export type StoreErrorCode = "CARILLON_STORE_UNAVAILABLE" | "CARILLON_STORE_URL";

export class StoreError extends Error {
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, sentence: string, cause?: unknown) {
    super(`${code}: ${sentence}`, cause === undefined ? undefined : { cause });
    this.name = "StoreError";
    this.code = code;
  }
}
