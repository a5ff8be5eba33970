import { destination, pino, type Logger } from "pino";

export type Log = Logger;

export interface LogOptions {
  readonly service: string;
  readonly member: string;
  readonly level: string;
}

/** JSON lines on standard output. Fields of a call are `sip.call_id` and `trace_id`. Secrets are cut out by name. */
export function createLog({ service, member, level }: LogOptions): Log {
  return pino(
    {
      level,
      base: { service, member },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: ["password", "token", "authorization", "url", "*.password", "*.token", "*.authorization", "req.headers.authorization"],
        censor: "[cut]",
      },
    },
    destination({ dest: 1, sync: true }),
  );
}
