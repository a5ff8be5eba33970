import { destination, pino, stdSerializers, type Logger } from "pino";

export type Log = Logger;

export interface LogOptions {
  readonly service: string;
  readonly member: string;
  readonly level: string;
  /** Takes the lines instead of standard output. */
  readonly to?: { write(line: string): void } | undefined;
}

const SECRETS = ["password", "secret", "token", "apiToken", "authorization", "url", "natsUrl", "redisUrl"];

/** `//user:password@` in the text of an error, as clients of brokers write it. */
const withoutCredentials = (text: string): string => text.replaceAll(/\/\/[^/\s@]*@/g, "//[cut]@");

function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const fields = stdSerializers.err(error);
  return { ...fields, message: withoutCredentials(fields.message), stack: withoutCredentials(fields.stack) };
}

/**
 * JSON lines on standard output. Fields of a call are `sip.call_id` and `trace_id`; an error is `err`. Secrets are cut out by name, on the first and second level,
 * and credentials out of the URLs in an error's text.
 */
export function createLog({ service, member, level, to }: LogOptions): Log {
  return pino(
    {
      level,
      base: { service, member },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: errorFields },
      redact: { paths: [...SECRETS, ...SECRETS.map((name) => `*.${name}`), "req.headers.authorization"], censor: "[cut]" },
    },
    // Synchronous: the last lines before an end are the ones that matter.
    to ?? destination({ dest: 1, sync: true }),
  );
}
