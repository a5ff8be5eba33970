/** What an operator can mend: one clear sentence, and what to do. */
export class CarillonError extends Error {
  readonly code: string;
  readonly hint: string;

  constructor(code: string, sentence: string, hint: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause });
    this.name = "CarillonError";
    this.code = code;
    this.hint = hint;
  }
}

/** EX_CONFIG of sysexits.h. */
const EXIT_CONFIG = 78;

/** Ends the process with one line on the error stream. */
export function exitWith(error: unknown): never {
  const line = error instanceof CarillonError ? `${error.code}: ${error.message}. ${error.hint}` : error instanceof Error ? error.message : String(error);
  process.stderr.write(`carillon: ${line.replaceAll("\n", " ")}\n`);
  process.exit(error instanceof CarillonError ? EXIT_CONFIG : 1);
}
