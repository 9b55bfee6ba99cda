// A tiny model on a server, for tests with published clients.
import { afterAll, beforeAll } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type ModelServer, type ServeOptions, serve } from "../../../lib/serve/index.ts";
import { chatModel } from "../helpers.ts";

/** Serves a model with random weights to the tests of a file. Its chat template writes tool calls. */
export function served(options: ServeOptions = {}): { readonly url: string; readonly model: LanguageModel } {
  let [model, server]: [LanguageModel?, ModelServer?] = [];
  beforeAll(async () => {
    model = await chatModel();
    server = await serve(model, { port: 0, modelName: "tiny", ...options });
  });
  afterAll(async () => {
    await server?.close(0);
    await model?.dispose();
  });
  return {
    get url() {
      return server!.url;
    },
    get model() {
      return model!;
    },
  };
}
