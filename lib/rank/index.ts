import { checkSeed, invalidArgument } from "../core/errors.ts";
import { checkWhole } from "../core/option-values.ts";
import { type LanguageModel, rejectUnknownNames } from "../language-model/index.ts";
import type { Answering } from "./sampler.ts";
import type { RankState } from "./session.ts";

/** Options of `openRanking`. @experimental */
export interface RankOptions {
  /** Prompts: .jsonl rows with `prompt`, `question` or `messages` (and optionally `answers`), or lines of text. */
  prompts: string;
  /** Output file for votes: a .jsonl file for dpo and trainReward. Prompts that it already contains are not asked again. */
  out: string;
  /** Number of answers to a prompt. Default 2. */
  numAnswers?: number | undefined;
  /** Sampling temperature. Default 0.9, because answers must differ. */
  temperature?: number | undefined;
  /** Sample only from the likeliest tokens whose probabilities add up to this. Default 1. */
  topP?: number | undefined;
  /** Maximum number of tokens of an answer. Default: that of `generate`. */
  maxTokens?: number | undefined;
  /** Seed of the answers: the same seed gives the same answers. A whole number from 0 to 2^53 - 1. Default 0. */
  seed?: number | undefined;
  /** Whether to treat text prompts as user messages in a chat. Default: true if the model has a chat template. */
  chat?: boolean | undefined;
  /** Port of the page. Default: a free port. */
  port?: number | undefined;
}

const NAMES: readonly (keyof RankOptions)[] = [
  "prompts",
  "out",
  "numAnswers",
  "temperature",
  "topP",
  "maxTokens",
  "seed",
  "chat",
  "port",
];

/** A local web page on which people judge answers. It is served until `close`. @experimental */
export interface Ranking {
  /** URL of the page, reachable only from this machine. */
  readonly url: string;
  /** What the page shows. */
  readonly state: RankState;
  /** Closes the page. Votes are already on disk. @throws HeddleError IO */
  close(): Promise<void>;
}

/**
 * Opens a local web page on which people choose the better of a model's answers. Every vote is on disk before the page shows the next
 * prompt. A run that was stopped or killed continues after its last vote when it is opened again.
 * @param model not needed if all prompts have answers
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE `file:line: …`, INVALID_ARGUMENT
 * @example
 * await using ranking = await openRanking(model, { prompts: "prompts.jsonl", out: "pairs.jsonl" });
 * console.log(ranking.url);
 * @experimental
 */
export async function openRanking(
  model: LanguageModel | undefined,
  options: RankOptions,
): Promise<Ranking & AsyncDisposable> {
  rejectUnknownNames(options, NAMES);
  const { numAnswers: count = 2, seed = 0, port } = options;
  for (const name of ["prompts", "out"] as const)
    if (typeof options[name] !== "string" || options[name] === "") throw invalidArgument(name, "a path", options[name]);
  checkWhole("numAnswers", count, 2, 9);
  if (port !== undefined) checkWhole("port", port, 0, 65535);
  checkSeed(seed);
  const chat = options.chat ?? model?.tokenizer?.hasChatTemplate ?? false;
  // Load the page and its server lazily, because few users of the package need them.
  const [{ readItems }, { Sampler }, { serveRanking }, { RankSession }] = await Promise.all([
    import("./items.ts"),
    import("./sampler.ts"),
    import("./server.ts"),
    import("./session.ts"),
  ]);
  const items = await readItems(options.prompts, { chat });
  const sampler = new Sampler(answering(model, options), { count, seed });
  const session = await RankSession.open(items, options.out, sampler);
  try {
    const server = await serveRanking(session, port === undefined ? {} : { port });
    const close = async () => {
      await server.close();
      await session.close();
    };
    return {
      url: server.url,
      get state() {
        return session.state;
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await session.close();
    throw error;
  }
}

function answering(model: LanguageModel | undefined, { temperature = 0.9, topP, maxTokens }: RankOptions): Answering {
  return async (prompt, { count, seed, signal }) => {
    if (!model?.tokenizer) throw invalidArgument("model", "a model with a tokenizer, to sample answers", model);
    const ids =
      typeof prompt === "string"
        ? await model.tokenizer.encodeAsync(prompt, { allowSpecial: true, signal })
        : (await model.tokenizer.applyChatTemplateAsync(prompt, { addGenerationPrompt: true, signal })).ids;
    const completions = await model.completeAll([ids], { n: count, temperature, topP, maxTokens, seed, signal });
    return completions.map(({ text }) => text);
  };
}
