import { invalidArgument } from "../../core/errors.ts";
import type { RequestRecord } from "../../serve/index.ts";
import { defineCommand } from "../command.ts";
import { BYTES, bytesOf } from "../options/bytes.ts";
import { loadOptions } from "../options/model-options.ts";
import { servedModels } from "../options/served-models.ts";
import { oneLine } from "../terminal/output.ts";
import { StopSignals } from "../terminal/stop-signals.ts";

export const command = defineCommand({
  about: "Serves models over HTTP with the APIs of OpenAI, Anthropic and Ollama, and a page to try them.",
  options: {
    host: { kind: "string", value: "H", about: "address to listen on (default: 127.0.0.1, this machine only)" },
    port: { kind: "integer", value: "N", about: "port to listen on; 0 picks a free one (default: 8080)" },
    "api-key": {
      kind: "string",
      value: "KEY",
      about: "API key that clients must send; may be repeated (default: HEDDLE_API_KEY, comma-separated keys)",
      repeated: true,
      named: "apiKeys",
    },
    "allow-without-key": { kind: "flag", about: "allow other machines to connect without an API key" },
    "allowed-host": {
      kind: "string",
      value: "NAME",
      about:
        "allowed host name of requests; may be repeated; * allows any (default: names of this machine, and --host)",
      repeated: true,
      named: "allowedHosts",
    },
    "allowed-origin": {
      kind: "string",
      value: "ORIGIN",
      about:
        "allowed origin of web pages (CORS), such as https://app.example; may be repeated; * allows any (default: none)",
      repeated: true,
      named: "allowedOrigins",
    },
    "model-name": { kind: "string", value: "NAME", about: "model name in the API (default: the model's own name)" },
    alias: {
      kind: "string",
      value: "NAME",
      about: "further model name in the API, such as gpt-4o; may be repeated",
      repeated: true,
      named: "aliases",
    },
    "max-concurrent": {
      kind: "integer",
      value: "N",
      about: "maximum number of answers generated at the same time (default: 8)",
    },
    "max-queue": { kind: "integer", value: "N", about: "maximum number of queued answers (default: 64)" },
    "max-choices": { kind: "integer", value: "N", about: "maximum number of answers per request (default: 16)" },
    "max-tokens": {
      kind: "integer",
      value: "N",
      about: "maximum number of tokens per answer (default: the space left in the context)",
    },
    "close-timeout": {
      kind: "number",
      value: "SECONDS",
      about: "maximum time to finish running answers after SIGTERM or SIGINT (default: 10)",
    },
    deterministic: {
      kind: "flag",
      about: "bitwise identical answers regardless of other requests; prompts take longer",
    },
    "metrics-without-key": { kind: "flag", about: "answer /metrics without an API key" },
    log: { kind: "flag", about: "log each request to stderr" },
    ...loadOptions,
    model: {
      kind: "string",
      value: "M|NAME=M",
      about:
        "Hugging Face folder, .gguf file, checkpoint folder, name such as OWNER/NAME, or default; may be repeated, then each is loaded on first use",
      repeated: true,
    },
    adapter: {
      kind: "string",
      value: "DIR|NAME=DIR",
      about:
        "LoRA adapter; may be repeated. With a name, only requests for the model NAME use it (with several models: MODEL/NAME=DIR). Without, it always applies",
      repeated: true,
    },
    "max-model-memory": {
      kind: "string",
      value: "BYTES",
      about: "maximum size of all loaded weights, such as 16GB; idle models are unloaded to make room (default: none)",
      pattern: BYTES,
    },
  },
  async run({ options, out }) {
    const apiKeys = options["api-key"] ?? process.env.HEDDLE_API_KEY?.split(",").filter(Boolean);
    const memory = options["max-model-memory"];
    const closeTimeout = milliseconds("--close-timeout", options["close-timeout"]);
    const signals = new StopSignals();
    const [{ serve }, { models, loaded }] = await Promise.all([import("../../serve/index.ts"), servedModels(options)]);
    try {
      const server = await serve(models, {
        host: options.host,
        port: options.port,
        apiKeys,
        allowWithoutKey: options["allow-without-key"],
        allowedHosts: options["allowed-host"],
        allowedOrigins: options["allowed-origin"],
        maxModelMemory: memory === undefined ? undefined : bytesOf(memory),
        maxConcurrent: options["max-concurrent"],
        maxQueue: options["max-queue"],
        maxChoices: options["max-choices"],
        maxTokens: options["max-tokens"],
        closeTimeout,
        deterministic: options.deterministic,
        metricsWithoutKey: options["metrics-without-key"],
        ...(options.log && { onRequest: (record: RequestRecord) => out.log(lineOf(record)) }),
      });
      const stopped = signals.first();
      if (out.json) out.object({ url: server.url, model: server.modelName, models: server.modelNames });
      out.log(`Serving ${server.modelNames.join(", ")} at ${server.url}/v1 (press Ctrl-C to stop)`);
      await stopped;
      await server.close();
    } finally {
      await loaded?.dispose();
    }
  },
});

/** Maximum delay of a Node timer in seconds. Timers take at most 2^31 - 1 ms. */
const MAX_SECONDS = Math.floor((2 ** 31 - 1) / 1000);

/** Converts seconds to milliseconds. Checks the range here, because the server's message would be in milliseconds. */
function milliseconds(name: string, seconds: number | undefined): number | undefined {
  if (seconds === undefined) return undefined;
  if (seconds < 0 || seconds > MAX_SECONDS) throw invalidArgument(name, `a number from 0 to ${MAX_SECONDS}`, seconds);
  return Math.round(seconds * 1000);
}

/** Formats a request as a line. The path is untrusted, so control characters are replaced. */
function lineOf(record: RequestRecord): string {
  const { requestId, method, path, status, ms, promptTokens, completionTokens, error } = record;
  const shown = path.slice(0, 200).replace(/[^\x21-\x7e]/g, "?");
  const tokens = promptTokens === undefined ? "" : `, ${promptTokens} + ${completionTokens} tokens`;
  const why = status >= 500 && error instanceof Error ? `: ${oneLine(error.message)}` : "";
  return `${new Date().toISOString()} ${requestId} ${method} ${shown} ${status}, ${Math.round(ms)} ms${tokens}${why}`;
}
