import type { RequestRecord } from "../../serve/index.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, openModel } from "../options/model-options.ts";

export const command = defineCommand({
  about: "Serves a model over HTTP as OpenAI's clients expect it: chats, completions, embeddings.",
  options: {
    host: { kind: "string", value: "H", about: "address to listen on (127.0.0.1: this machine alone)" },
    port: { kind: "integer", value: "N", about: "0: a free one (8080)" },
    "api-key": {
      kind: "string",
      value: "KEY",
      about:
        "what clients have to send as their API key; may be repeated. Default: HEDDLE_API_KEY, keys between commas",
      repeated: true,
      named: "apiKeys",
    },
    "allow-without-key": { kind: "flag", about: "listen beyond this machine without a key" },
    "allowed-host": {
      kind: "string",
      value: "NAME",
      about: "a host name that requests may use; may be repeated; *: any (those of this machine, and --host)",
      repeated: true,
      named: "allowedHosts",
    },
    "allowed-origin": {
      kind: "string",
      value: "ORIGIN",
      about: "an origin whose web pages may ask, such as https://app.example; may be repeated; *: any (none)",
      repeated: true,
      named: "allowedOrigins",
    },
    "model-name": { kind: "string", value: "NAME", about: "what clients call the model (its own name)" },
    "max-concurrent": { kind: "integer", value: "N", about: "answers that share the model's runs (8)" },
    "max-queue": { kind: "integer", value: "N", about: "answers that may wait beside them (64)" },
    "max-choices": { kind: "integer", value: "N", about: "answers of one request (16)" },
    "max-tokens": { kind: "integer", value: "N", about: "tokens of an answer at most (what the context has room for)" },
    deterministic: { kind: "flag", about: "the same bits whatever is answered beside; prompts take longer" },
    log: { kind: "flag", about: "a line on stderr for every request" },
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
      out.log(`${server.modelName} is served at ${server.url}/v1 (Ctrl-C ends it)`);
      await ended;
      await server.close();
    } finally {
      await model.dispose();
    }
  },
});

/** The first signal lets answers end; the second ends the process at once. */
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

/** A path is a stranger's: nothing in it moves a terminal's cursor. */
function lineOf({ method, path, status, ms, promptTokens, completionTokens }: RequestRecord): string {
  const shown = path.slice(0, 200).replace(/[^\x21-\x7e]/g, "?");
  const tokens = promptTokens === undefined ? "" : `, ${promptTokens} + ${completionTokens} tokens`;
  return `${new Date().toISOString()} ${method} ${shown} ${status}, ${Math.round(ms)} ms${tokens}`;
}
