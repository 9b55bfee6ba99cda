// Spans for OpenTelemetry, if the user has @opentelemetry/api and an SDK. Attributes follow the semantic conventions for generative AI.
import type { IncomingHttpHeaders } from "node:http";
import type { Attributes, Span } from "@opentelemetry/api";
import { optionalPackage } from "../core/optional.ts";
import type { RequestRecord } from "../core/record.ts";

type Api = typeof import("@opentelemetry/api");

let found: Promise<Api | undefined> | undefined;

/** Returns the API, or undefined if it is not installed. */
export function openTelemetry(): Promise<Api | undefined> {
  found ??= optionalPackage<Api>("@opentelemetry/api").catch(() => undefined);
  return found;
}

const OPERATIONS: Readonly<Record<string, string>> = {
  "/v1/chat/completions": "chat",
  "/v1/responses": "chat",
  "/v1/messages": "chat",
  "/api/chat": "chat",
  "/v1/completions": "text_completion",
  "/api/generate": "text_completion",
  "/infill": "text_completion",
  "/v1/embeddings": "embeddings",
  "/api/embed": "embeddings",
  "/api/embeddings": "embeddings",
  "/embed": "embeddings",
  "/models/:model/pipeline/feature-extraction": "embeddings",
};

/** The span of a request. It is a child of the caller's span, if the request names one (`traceparent`). */
export class RequestSpan {
  private readonly api: Api;
  private readonly span: Span;
  private readonly operation: string | undefined;

  /** @param route the path of the endpoint */
  constructor(api: Api, route: string, request: { method: string; headers: IncomingHttpHeaders; requestId: string }) {
    this.api = api;
    this.operation = OPERATIONS[route];
    const parent = api.propagation.extract(api.context.active(), request.headers);
    const attributes: Attributes = {
      "http.request.method": request.method,
      "http.route": route,
      "heddle.request.id": request.requestId,
      ...(this.operation && { "gen_ai.operation.name": this.operation, "gen_ai.provider.name": "heddle" }),
    };
    const kind = api.SpanKind.SERVER;
    this.span = api.trace.getTracer("heddle").startSpan(`${request.method} ${route}`, { kind, attributes }, parent);
  }

  /** Adds the facts of a finished request to the span, and ends it. */
  end({ status, model, promptTokens, completionTokens, firstTokenMs, error }: RequestRecord): void {
    const { span, api, operation } = this;
    span.setAttribute("http.response.status_code", status);
    if (model !== undefined) {
      span.setAttributes({ "gen_ai.request.model": model, "gen_ai.response.model": model });
      if (operation) span.updateName(`${operation} ${model}`);
    }
    if (promptTokens !== undefined) span.setAttribute("gen_ai.usage.input_tokens", promptTokens);
    if (completionTokens !== undefined) span.setAttribute("gen_ai.usage.output_tokens", completionTokens);
    if (firstTokenMs !== undefined) span.setAttribute("gen_ai.server.time_to_first_token", firstTokenMs / 1000);
    if (status >= 500) {
      span.setStatus({ code: api.SpanStatusCode.ERROR });
      span.setAttribute("error.type", error instanceof Error && "code" in error ? String(error.code) : String(status));
      if (error instanceof Error) span.recordException(error);
    }
    span.end();
  }
}
