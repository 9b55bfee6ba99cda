import type { LanguageModel, Piece, Prompt } from "../generate/index.ts";
import { defineCommand } from "./command.ts";
import { loadOptions, openModel } from "./model-options.ts";
import { shortFloat } from "./output.ts";
import { promptOf } from "./prompt.ts";
import { generateOptions, samplingOptions } from "./sampling-options.ts";

export const command = defineCommand({
  about: "Continues a text: prints the new text as it comes.",
  positionals: { usage: "PROMPT (- reads stdin)", least: 0, most: 1 },
  options: {
    ...samplingOptions,
    "token-ids": { kind: "ids", value: "1,2,3", about: "the prompt as ids; needs no tokenizer" },
    "assistant-model": {
      kind: "string",
      value: "PATH",
      about: "a smaller model that guesses ahead: the same text, sooner",
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
    const prompt = await promptOf(positionals, options["token-ids"]);
    const model = await openModel(options);
    const draft = options["assistant-model"];
    const assistantModel = draft === undefined ? undefined : await openModel({ ...options, adapter: [], model: draft });
    const generation = { ...generateOptions(options), topLogprobs: options.logprobs, assistantModel };
    try {
      if (out.json) {
        const { usage, logprobs, top, ...completion } = await model.complete(prompt, generation);
        out.object({
          ...completion,
          logprobs: logprobs.map(shortFloat),
          ...(top && { top: top.map((row) => row.map((t) => ({ ...t, logprob: shortFloat(t.logprob) }))) }),
          promptTokens: usage.promptTokens,
          completionTokens: usage.completionTokens,
          ...(usage.draftedTokens !== undefined && {
            draftedTokens: usage.draftedTokens,
            acceptedTokens: usage.acceptedTokens,
          }),
        });
      } else await stream(model, prompt, generation, (text) => out.write(text));
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
