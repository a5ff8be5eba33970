import { isIP } from "node:net";
import { z } from "zod";

const DURATION = "expected a duration such as 20s, 500ms or a number of seconds";

/** `20s`, `500ms`, `2m`, `12h`, or a number of seconds; in milliseconds. */
export const duration = (minMs: number, maxMs: number): z.ZodType<number> =>
  z
    .union([z.number(), z.string()], { error: DURATION })
    .transform((value, context) => {
      const found = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(String(value).trim());
      const factor = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[found?.[2] ?? "s"];
      if (found === null || factor === undefined) {
        context.addIssue({ code: "custom", message: DURATION });
        return z.NEVER;
      }
      return Math.round(Number(found[1]) * factor);
    })
    .refine((ms) => ms >= minMs && ms <= maxMs, { message: `expected ${minMs / 1_000} to ${maxMs / 1_000} seconds` });

export const integer = (min: number, max: number): z.ZodType<number> => {
  const error = `expected a whole number from ${min} to ${max}`;
  return z
    .union([z.number(), z.string().regex(/^\d+$/).transform(Number)], { error })
    .refine((number) => Number.isInteger(number) && number >= min && number <= max, { error });
};

export const flag: z.ZodType<boolean> = z.union([z.boolean(), z.enum(["true", "false"]).transform((word) => word === "true")], {
  error: "expected true or false",
});

/** A list, or one text with commas. */
export const list: z.ZodType<readonly string[]> = z
  .union([z.array(z.string()), z.string()], { error: "expected names, comma separated or as a list" })
  .transform((value) => (typeof value === "string" ? value.split(",") : value).map((one) => one.trim()).filter((one) => one !== ""));

export const text: z.ZodType<string> = z.union([z.string(), z.number().transform(String)], { error: "expected a text" });

/** RFC 6750 §2.1: what may follow `Bearer` in a header. */
export const bearerToken: z.ZodType<string> = z
  .union([z.string(), z.number().transform(String)], { error: "expected a text" })
  .refine((value) => /^[\w.~+/-]+=*$/.test(value), { error: "expected letters, digits and -._~+/ without spaces" });

/** A part of NATS subjects: no dots, spaces or wildcards. */
export const memberName: z.ZodType<string> = z
  .string({ error: "expected a text" })
  .regex(/^[\w-]{1,100}$/, "expected up to 100 letters, digits, hyphens and underscores");

export const redisUrl: z.ZodType<string> = z
  .string({ error: "expected a text" })
  .regex(/^(?:redis|rediss|redis-sentinel):\/\/\S/, "expected redis://, rediss:// or redis-sentinel://");

/** `any` or `none` alone, or hosts: names, addresses, CIDR blocks. */
export const relayRules: z.ZodType<readonly string[]> = list.refine(
  (rules) => (rules.length === 1 && /^(?:any|none)$/.test(rules[0] ?? "")) || rules.every((rule) => isHostOrBlock(rule)),
  { error: "expected any, none, or hosts: names, addresses or blocks such as 192.0.2.0/24" },
);

function isHostOrBlock(rule: string): boolean {
  if (rule === "any" || rule === "none") return false;
  const [host = "", prefix, ...rest] = rule.split("/");
  const family = isIP(host);
  if (prefix === undefined) return family !== 0 || /^(?=.*[a-z])[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/i.test(host);
  return rest.length === 0 && family !== 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128);
}

export interface HostPort {
  /** IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** `host:port`, IPv6 in brackets; undefined where it is none. */
export function readHostPort(value: string, defaultPort?: number): HostPort | undefined {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(value);
  const host = found?.[1] ?? found?.[2];
  const port = found?.[3] === undefined ? defaultPort : Number(found[3]);
  return host === undefined || port === undefined || port > 65_535 ? undefined : { host, port };
}

const place = (error: string, defaultPort?: number): z.ZodType<HostPort> =>
  z.string({ error }).transform((value, context) => {
    const read = readHostPort(value, defaultPort);
    if (read !== undefined) return read;
    context.addIssue({ code: "custom", message: error });
    return z.NEVER;
  });

export const hostPort: z.ZodType<HostPort> = place("expected host:port");

/** The port is 0 where none is given. */
export const hostMaybePort: z.ZodType<HostPort> = place("expected host or host:port", 0);

export interface Listen extends HostPort {
  readonly transport: "udp" | "tcp" | "tls" | "ws" | "wss";
}

/** `udp://host:port,tcp://host:port`; IPv6 in brackets. */
export const listens: z.ZodType<readonly Listen[]> = list.transform((values, context) => {
  const read = values.map((value) => {
    const found = /^(udp|tcp|tls|ws|wss):\/\/(.+)$/.exec(value);
    const transport = found?.[1] as Listen["transport"] | undefined;
    const at = readHostPort(found?.[2] ?? "", transport === "tls" || transport === "wss" ? 5061 : 5060);
    return transport === undefined || at === undefined ? undefined : { transport, ...at };
  });
  const good = read.filter((one) => one !== undefined);
  const fixed = good.filter(({ port }) => port !== 0).map(({ transport, host, port }) => `${transport} ${host} ${port}`);
  if (new Set(fixed).size < fixed.length) {
    context.addIssue({ code: "custom", message: "expected each address once" });
    return z.NEVER;
  }
  if (good.length === read.length && good.length > 0) return good;
  context.addIssue({ code: "custom", message: "expected addresses such as udp://0.0.0.0:5060,tcp://0.0.0.0:5060" });
  return z.NEVER;
});
