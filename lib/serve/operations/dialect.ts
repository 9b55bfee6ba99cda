// Endpoints for operators of the server: health checks and metrics. Their errors are in OpenAI's form.
import { lostDevice } from "../../graph/device.ts";
import type { Exchange } from "../core/context.ts";
import type { Dialect } from "../core/routes.ts";
import { deviceLost, Refusal, unavailable } from "../http/http-error.ts";
import { sendJson } from "../http/json-answer.ts";
import { openai } from "../openai/dialect.ts";

/** Liveness: responds as long as the process runs. It fails if a GPU is lost, because only a restart brings it back. */
function live({ response }: Exchange): void {
  if (lostDevice()) throw deviceLost();
  sendJson(response, 200, { status: "ok" });
}

/** Readiness: whether the server accepts requests. It is not ready while it closes or preloads a model, or if a GPU is lost. */
function ready({ response, service }: Exchange): void {
  if (service.isClosing()) throw unavailable("server: shutting down");
  if (lostDevice()) throw deviceLost();
  if (service.models.isPreloading) throw unavailable("server: loading a model");
  sendJson(response, 200, { status: "ready" });
}

async function metrics({ response, service }: Exchange): Promise<void> {
  const found = await service.metrics.text();
  if (!found)
    throw new Refusal(
      501,
      "metrics: expected the package prom-client next to heddle, got none (npm install prom-client)",
      {
        code: "not_installed",
      },
    );
  const { body, contentType } = found;
  response.writeHead(200, { "content-type": contentType, "cache-control": "no-store" }).end(body);
}

/** The routes for operators: health, readiness and metrics. */
export const operations: Dialect = {
  errorBody: openai.errorBody,
  parameterNames: openai.parameterNames,
  routes: [
    { method: "GET", path: "/health", guarded: false, endpoint: live },
    { method: "GET", path: "/live", guarded: false, whileClosing: true, endpoint: live },
    { method: "GET", path: "/ready", guarded: false, whileClosing: true, endpoint: ready },
    {
      method: "GET",
      path: "/metrics",
      guarded: ({ metricsWithoutKey }) => !metricsWithoutKey,
      whileClosing: true,
      endpoint: metrics,
    },
  ],
};
