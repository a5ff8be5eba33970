import { z } from "zod";

/** `20s`, `500ms`, `2m`, `12h`, or a number of seconds; in milliseconds. */
export const duration = (minMs: number, maxMs: number): z.ZodType<number> =>
  z
    .union([z.number(), z.string()])
    .transform((value, context) => {
      const found = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(String(value).trim());
      const factor = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[found?.[2] ?? "s"];
      if (found === null || factor === undefined) {
        context.addIssue({ code: "custom", message: "expected a duration such as 20s, 500ms or a number of seconds" });
        return z.NEVER;
      }
      return Math.round(Number(found[1]) * factor);
    })
    .refine((ms) => ms >= minMs && ms <= maxMs, { message: `expected ${minMs / 1_000} to ${maxMs / 1_000} seconds` });

export const integer = (min: number, max: number): z.ZodType<number> =>
  z
    .union([z.number(), z.string().regex(/^\d+$/, "expected a whole number").transform(Number)])
    .refine((number) => Number.isInteger(number) && number >= min && number <= max, { message: `expected a whole number from ${min} to ${max}` });

export const flag: z.ZodType<boolean> = z.union([
  z.boolean(),
  z.enum(["true", "false"], { message: "expected true or false" }).transform((text) => text === "true"),
]);

/** A list, or one text with commas. */
export const list: z.ZodType<readonly string[]> = z
  .union([z.array(z.string()), z.string()])
  .transform((value) => (typeof value === "string" ? value.split(",") : value).map((one) => one.trim()).filter((one) => one !== ""));

export const text: z.ZodType<string> = z.union([z.string(), z.number().transform(String)]);

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

export const hostPort: z.ZodType<HostPort> = z.string().transform((value, context) => {
  const read = readHostPort(value);
  if (read !== undefined) return read;
  context.addIssue({ code: "custom", message: "expected host:port" });
  return z.NEVER;
});

export interface Listen extends HostPort {
  readonly transport: "udp" | "tcp" | "tls" | "ws" | "wss";
}

/** `udp://host:port,tcp://host:port`; IPv6 in brackets. */
export const listens: z.ZodType<readonly Listen[]> = list.transform((values, context) => {
  const read = values.map((value) => {
    const found = /^(udp|tcp|tls|ws|wss):\/\/(.+)$/.exec(value);
    const transport = found?.[1] as Listen["transport"] | undefined;
    const place = readHostPort(found?.[2] ?? "", transport === "tls" || transport === "wss" ? 5061 : 5060);
    return transport === undefined || place === undefined ? undefined : { transport, ...place };
  });
  const good = read.filter((one) => one !== undefined);
  if (good.length === read.length && good.length > 0) return good;
  context.addIssue({ code: "custom", message: "expected addresses such as udp://0.0.0.0:5060,tcp://0.0.0.0:5060" });
  return z.NEVER;
});
