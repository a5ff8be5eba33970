import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { openParty, setUpCall, until } from "@carillon/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPair, WITHOUT_BROKERS, type System } from "./system.ts";

interface Span {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly kind: number;
  readonly service: string;
  readonly callId: string | undefined;
}

const spans: Span[] = [];
let receiver: Server | undefined;
let system: System | undefined;

interface Exported {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[] };
    readonly scopeSpans: readonly {
      readonly spans: readonly (Omit<Span, "service" | "callId"> & {
        readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
      })[];
    }[];
  }[];
}

beforeAll(async () => {
  if (WITHOUT_BROKERS) return;
  receiver = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Exported;
      for (const { resource, scopeSpans } of resourceSpans) {
        const service = resource.attributes.find(({ key }) => key === "service.name")?.value.stringValue ?? "";
        for (const one of scopeSpans) {
          for (const span of one.spans) spans.push({ ...span, service, callId: span.attributes.find(({ key }) => key === "sip.call_id")?.value.stringValue });
        }
      }
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  receiver.listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const address = receiver.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  system = await startPair({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_BSP_SCHEDULE_DELAY: "200",
  });
});
afterAll(async () => {
  await system?.stop();
  receiver?.close();
});

test.skipIf(WITHOUT_BROKERS)("a message's trace goes from the ingress over NATS to transaction, dialog and back out", async () => {
  const [caller, callee] = await Promise.all([openParty({ proxyPort: system!.sipPort }), openParty({ proxyPort: system!.sipPort })]);
  const call = await setUpCall(caller, callee);
  const invite = await until("the INVITE's trace", () => {
    const root = spans.find((span) => span.callId === call.callId && span.name === "SIP INVITE");
    const trace = spans.filter((span) => span.traceId === root?.traceId);
    return root !== undefined && trace.length >= 4 ? trace : undefined;
  });
  const named = (name: string): Span => invite.find((span) => span.name === name)!;
  const root = named("SIP INVITE");
  const work = named("transaction INVITE");
  expect([root.service, root.parentSpanId ?? "", root.kind]).toEqual(["carillon-ingress", "", 2]);
  expect([work.service, work.parentSpanId, work.kind]).toEqual(["carillon-transaction", root.spanId, 5]);
  for (const name of ["send 100", "send INVITE"])
    expect([named(name).service, named(name).parentSpanId, named(name).kind]).toEqual(["carillon-ingress", work.spanId, 3]);
  const confirmed = await until("the dialog's span", () => spans.find((span) => span.name === "dialog confirmed"));
  const cause = spans.find((span) => span.spanId === confirmed.parentSpanId);
  expect([confirmed.service, cause?.name, cause?.callId]).toEqual(["carillon-dialog", "transaction 200", call.callId]);
});
