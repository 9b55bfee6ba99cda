import { HeddleError } from "../../core/errors.ts";
import type { GenerateOptions, LanguageModel, Piece, Prompt } from "../../language-model/index.ts";
import { defineCommand } from "../command.ts";
import { completionJson } from "../completion.ts";
import { loadOptions, openModel } from "../options/model-options.ts";
import { promptBatches, promptOf } from "../options/prompt.ts";
import { responseFormatOf } from "../options/response-format.ts";
import { generateOptions, samplingOptions } from "../options/sampling-options.ts";

export const command = defineCommand({
  about: "Continues a text: prints the new text as it comes.",
  positionals: { usage: "PROMPT (- reads stdin)", least: 0, most: 1 },
  options: {
    ...samplingOptions,
    "num-beams": {
      kind: "integer",
      value: "K",
      about: "beam search: the likeliest text that K beginnings at a time lead to; printed at the end",
    },
    "length-penalty": {
      kind: "number",
      value: "X",
      about: "with --num-beams: above 0 favours long texts, below 0 short ones (1)",
    },
    "early-stopping": {
      kind: "string",
      value: "true|false|never",
      about: "with --num-beams: end with the K-th finished text, when better ones are unlikely (false), or impossible",
      pattern: /^(true|false|never)$/,
    },
    deterministic: { kind: "flag", about: "the same bits whatever prompts share the call, log-probabilities included" },
    file: {
      kind: "string",
      value: "F",
      about: "a .jsonl or .parquet file of rows with a prompt, text or ids: computed together, one result a row",
    },
    "token-ids": { kind: "ids", value: "1,2,3", about: "the prompt as ids; needs no tokenizer" },
    "assistant-model": {
      kind: "string",
      value: "PATH",
      about: "a smaller model that guesses ahead: the same text, sooner",
    },
    "num-assistant-tokens": { kind: "integer", value: "N", about: "most tokens that it guesses at once (8)" },
    "json-object": { kind: "flag", about: "the answer is a JSON object" },
    "json-schema": {
      kind: "string",
      value: "FILE|JSON",
      about: "the answer is JSON that satisfies this schema, given as a file or as it is",
    },
    "prompt-logprobs": {
      kind: "integer",
      value: "K",
      about: "with --json: log-probabilities of the prompt's tokens too, and the K likeliest in each place (0: none)",
    },
    logprobs: {
      kind: "integer",
      value: "K",
      about: "with --json: the K likeliest tokens of each step",
      named: "topLogprobs",
    },
    ...loadOptions,
  },
  async run({ options, positionals, out }) {
    const ids = options["token-ids"];
    for (const name of ["logprobs", "prompt-logprobs"] as const)
      if (options[name] !== undefined && !out.json)
        throw new HeddleError("INVALID_ARGUMENT", `--${name}: expected together with --json, got it alone`);
    const responseFormat = await responseFormatOf(options["json-schema"], options["json-object"]);
    const rows = options.file === undefined ? undefined : promptBatches(options.file, { positionals, ids });
    const prompt = rows ? undefined : await promptOf(positionals, ids);
    const model = await openModel(options);
    const draft = options["assistant-model"];
    const assistantModel = draft === undefined ? undefined : await openModel({ ...options, adapter: [], model: draft });
    const { deterministic, logprobs: topLogprobs, "num-assistant-tokens": numAssistantTokens } = options;
    const { "prompt-logprobs": promptLogprobs } = options;
    const { "num-beams": numBeams, "length-penalty": lengthPenalty, "early-stopping": stopping } = options;
    const generation: GenerateOptions = {
      ...generateOptions(options),
      ...{ numBeams, lengthPenalty },
      earlyStopping: stopping === undefined || stopping === "never" ? stopping : stopping === "true",
      ...{ deterministic, topLogprobs, promptLogprobs, assistantModel, numAssistantTokens, responseFormat },
    };
    try {
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

/** Text as it comes; without a tokenizer the ids. */
async function stream(
  model: LanguageModel,
  prompt: Prompt,
  options: Parameters<LanguageModel["generate"]>[1],
  write: (text: string) => void,
): Promise<void> {
  const show = model.tokenizer ? (piece: Piece) => piece.text : (piece: Piece) => `${piece.token} `;
  for await (const piece of model.generate(prompt, options)) write(show(piece));
}
