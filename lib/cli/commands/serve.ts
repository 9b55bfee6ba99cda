import type { RequestRecord } from "../../serve/index.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, openModel } from "../options/model-options.ts";

export const command = defineCommand({
  about: "Serves a model over an OpenAI-compatible HTTP API: chat completions, completions and embeddings.",
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
    deterministic: {
      kind: "flag",
      about: "bitwise identical answers regardless of other requests; prompts take longer",
    },
    log: { kind: "flag", about: "log each request to stderr" },
    ...loadOptions,
  },
  async run({ options, out }) {
    const apiKeys = options["api-key"] ?? process.env.HEDDLE_API_KEY?.split(",").filter(Boolean);
    const [{ serve }, model] = await Promise.all([import("../../serve/index.ts"), openModel(options)]);
    try {
      const server = await serve(model, {
        host: options.host,
        port: options.port,
        apiKeys,
        allowWithoutKey: options["allow-without-key"],
        allowedHosts: options["allowed-host"],
        allowedOrigins: options["allowed-origin"],
        modelName: options["model-name"],
        maxConcurrent: options["max-concurrent"],
        maxQueue: options["max-queue"],
        maxChoices: options["max-choices"],
        maxTokens: options["max-tokens"],
        deterministic: options.deterministic,
        ...(options.log && { onRequest: (record: RequestRecord) => out.log(lineOf(record)) }),
      });
      const ended = firstSignal();
      if (out.json) out.object({ url: server.url, model: server.modelName });
      out.log(`Serving ${server.modelName} at ${server.url}/v1 (press Ctrl-C to stop)`);
      await ended;
      await server.close();
    } finally {
      await model.dispose();
    }
  },
});

/** Resolves on the first signal, so that running answers can finish. A second signal ends the process at once. */
function firstSignal(): Promise<void> {
  return new Promise((resolve) => {
    let count = 0;
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const)
      process.on(signal, () => {
        if (++count > 1) process.exit(code);
        resolve();
      });
  });
}

/** Formats a request as a line. The path is untrusted, so control characters are replaced. */
function lineOf({ method, path, status, ms, promptTokens, completionTokens }: RequestRecord): string {
  const shown = path.slice(0, 200).replace(/[^\x21-\x7e]/g, "?");
  const tokens = promptTokens === undefined ? "" : `, ${promptTokens} + ${completionTokens} tokens`;
  return `${new Date().toISOString()} ${method} ${shown} ${status}, ${Math.round(ms)} ms${tokens}`;
}
