// JSON schemas of the API: they check what comes, shape what goes, and are the OpenAPI document.
/** JSON Schema 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>;

const NULLABLE = { type: ["string", "null"] };

const LEG = {
  type: "object",
  properties: {
    address: { type: "string", description: "From or To value, tag included" },
    tag: { type: "string" },
    contact: { type: "string", description: "remote target" },
    routeSet: { type: "array", items: { type: "string" } },
  },
};

const PING = { type: "object", properties: { lastAnsweredAt: NULLABLE, status: { type: ["integer", "null"] } } };

export const DIALOG: JsonSchema = {
  type: "object",
  properties: {
    id: { type: "string" },
    callId: { type: "string" },
    state: { type: "string", enum: ["early", "confirmed", "ended"] },
    caller: LEG,
    callee: LEG,
    createdAt: { type: "string", format: "date-time" },
    answeredAt: NULLABLE,
    acknowledgedAt: NULLABLE,
    lifetimeEndsAt: NULLABLE,
    endedAt: NULLABLE,
    endReason: { ...NULLABLE, description: "Upstream BYE, Downstream BYE, Lifetime Timeout, Ping Timeout, MI Termination, Cancelled or Failed" },
    endedBy: { ...NULLABLE, description: "caller or callee: who hung up, or whose ping was not answered" },
    pings: { type: ["object", "null"], properties: { caller: PING, callee: PING } },
  },
};

export const DIALOG_PAGE: JsonSchema = { type: "object", properties: { dialogs: { type: "array", items: DIALOG }, next: NULLABLE } };

export const LIST_QUERY: JsonSchema = {
  type: "object",
  additionalProperties: false,
  properties: {
    callId: { type: "string", minLength: 1, maxLength: 512 },
    state: { type: "string", enum: ["early", "confirmed", "ended"] },
    limit: { type: "integer", minimum: 1, maximum: 1_000, default: 100 },
    cursor: { type: "string", maxLength: 512 },
  },
};

export const CLUSTER: JsonSchema = {
  type: "object",
  properties: {
    partitions: { type: "integer" },
    members: {
      type: "array",
      items: {
        type: "object",
        properties: {
          name: { type: "string" },
          roles: { type: "array", items: { type: "string" } },
          since: { type: "string", format: "date-time" },
          partitions: { type: "object", additionalProperties: { type: "integer" } },
        },
      },
    },
    owners: { type: "object", additionalProperties: { type: "array", items: NULLABLE } },
  },
};

export const PROBLEM: JsonSchema = {
  type: "object",
  properties: { type: { type: "string" }, title: { type: "string" }, status: { type: "integer" }, detail: { type: "string" } },
};
