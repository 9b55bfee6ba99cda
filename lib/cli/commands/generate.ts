import { HeddleError } from "../../core/errors.ts";
import type { GenerateOptions, LanguageModel, Piece, Prompt } from "../../language-model/index.ts";
import { defineCommand } from "../command.ts";
import { completionJson } from "../completion.ts";
import { loadOptions, openModel } from "../options/model-options.ts";
import { promptBatches, promptOf } from "../options/prompt.ts";
import { responseFormatOf } from "../options/response-format.ts";
import { generateOptions, samplingOptions } from "../options/sampling-options.ts";

export const command = defineCommand({
  about: "Generates text from a prompt and streams it to stdout.",
  positionals: { usage: "PROMPT (- reads stdin)", least: 0, most: 1 },
  options: {
    ...samplingOptions,
    "num-beams": {
      kind: "integer",
      value: "K",
      about: "beam search with K beams; prints the best text at the end",
    },
    "length-penalty": {
      kind: "number",
      value: "X",
      about: "with --num-beams: above 0 favors long texts, below 0 short ones (default: 1)",
    },
    "early-stopping": {
      kind: "string",
      value: "true|false|never",
      about:
        "with --num-beams: stop at K finished texts (true), when a better one is unlikely (false, the default) or impossible (never)",
      pattern: /^(true|false|never)$/,
    },
    deterministic: {
      kind: "flag",
      about: "bitwise identical results, log-probabilities included, regardless of other prompts in the batch",
    },
    file: {
      kind: "string",
      value: "F",
      about: ".jsonl or .parquet file of rows with a prompt (text or token ids), run in batches; one result per row",
    },
    "token-ids": { kind: "integers", value: "1,2,3", about: "prompt as token ids; needs no tokenizer" },
    "assistant-model": {
      kind: "string",
      value: "M",
      about: "smaller draft model for speculative decoding; same output, faster",
    },
    "num-assistant-tokens": {
      kind: "integer",
      value: "N",
      about: "with --assistant-model: maximum number of tokens drafted at once (default: 8)",
    },
    "json-object": { kind: "flag", about: "constrain the output to a JSON object" },
    "json-schema": {
      kind: "string",
      value: "FILE|JSON",
      about: "constrain the output to JSON that matches this schema, given inline or as a file",
    },
    "prompt-logprobs": {
      kind: "integer",
      value: "K",
      about:
        "with --json: also print log-probabilities of the prompt tokens, and the K most likely tokens at each position (0: none)",
    },
    logprobs: {
      kind: "integer",
      value: "K",
      about: "with --json: print the K most likely tokens of each step",
      named: "topLogprobs",
    },
    ...loadOptions,
  },
  async run({ options, positionals, out }) {
    const ids = options["token-ids"];
    for (const name of ["logprobs", "prompt-logprobs"] as const)
      if (options[name] !== undefined && !out.json)
        throw new HeddleError("INVALID_ARGUMENT", `--${name}: requires --json`);
    if (options["num-assistant-tokens"] !== undefined && options["assistant-model"] === undefined)
      throw new HeddleError("INVALID_ARGUMENT", "--num-assistant-tokens: requires --assistant-model");
    const responseFormat = await responseFormatOf(options["json-schema"], options["json-object"]);
    const rows = options.file === undefined ? undefined : promptBatches(options.file, { positionals, ids });
    const prompt = rows ? undefined : await promptOf(positionals, ids);
    const model = await openModel(options);
    let assistantModel: LanguageModel | undefined;
    try {
      const draft = options["assistant-model"];
      if (draft !== undefined) assistantModel = await openModel({ ...options, adapter: [], model: draft });
      const { deterministic, logprobs: topLogprobs, "num-assistant-tokens": numAssistantTokens } = options;
      const { "prompt-logprobs": promptLogprobs } = options;
      const { "num-beams": numBeams, "length-penalty": lengthPenalty, "early-stopping": stopping } = options;
      const generation: GenerateOptions = {
        ...generateOptions(options),
        ...{ numBeams, lengthPenalty },
        earlyStopping: stopping === undefined || stopping === "never" ? stopping : stopping === "true",
        ...{ deterministic, topLogprobs, promptLogprobs, assistantModel, numAssistantTokens, responseFormat },
      };
      if (rows) {
        for await (const prompts of rows)
          for (const completion of await model.completeAll(prompts, generation))
            if (out.json) out.object(completionJson(completion));
            else out.line(completion.text);
      } else if (out.json) out.object(completionJson(await model.complete(prompt!, generation)));
      else await stream(model, prompt!, generation, (text) => out.write(text));
    } finally {
      await assistantModel?.dispose();
      await model.dispose();
    }
  },
});

/** Prints text as it is generated, or ids if the model has no tokenizer. */
async function stream(
  model: LanguageModel,
  prompt: Prompt,
  options: Parameters<LanguageModel["generate"]>[1],
  write: (text: string) => void,
): Promise<void> {
  const show = model.tokenizer ? (piece: Piece) => piece.text : (piece: Piece) => `${piece.token} `;
  for await (const piece of model.generate(prompt, options)) write(show(piece));
}
