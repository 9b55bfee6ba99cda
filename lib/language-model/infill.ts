// Fill-in-the-middle (Bavarian et al. 2022): a model writes the text between a prefix and a suffix.
import { HeddleError } from "../core/errors.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { withoutClosing } from "../tokenizer/prompt-ids.ts";

/** The texts around the text that the model writes. */
export interface Infill {
  prefix: string;
  suffix: string;
  /** Beginning of the text between them. Default: none. */
  middle?: string | undefined;
  /** Other files of the project, the most relevant last. */
  extra?: readonly { text: string; filename?: string | undefined }[] | undefined;
}

/** Special tokens of a fill-in-the-middle model. */
interface FimTokens {
  prefix: number;
  suffix: number;
  /** Undefined if the text in the middle follows without a token. The suffix then comes first. */
  middle: number | undefined;
  /** Precedes each file. */
  file: number | undefined;
  /** Precedes the list of files. */
  repository: number | undefined;
  /** Tokens that end the text in the middle, in addition to the model's end tokens. */
  ends: readonly number[];
}

interface FimNames {
  prefix: string;
  suffix: string;
  middle?: string;
  file?: string;
  repository?: string;
  pad?: string;
}

/** Names of the tokens, by model. */
const KNOWN: readonly FimNames[] = [
  // Qwen and CodeGemma.
  {
    prefix: "<|fim_prefix|>",
    suffix: "<|fim_suffix|>",
    middle: "<|fim_middle|>",
    file: "<|file_sep|>",
    repository: "<|repo_name|>",
    pad: "<|fim_pad|>",
  },
  // StarCoder, StarCoder 2 and Granite.
  {
    prefix: "<fim_prefix>",
    suffix: "<fim_suffix>",
    middle: "<fim_middle>",
    file: "<file_sep>",
    repository: "<repo_name>",
    pad: "<fim_pad>",
  },
  // SantaCoder, DeepSeek, Code Llama, Codestral.
  { prefix: "<fim-prefix>", suffix: "<fim-suffix>", middle: "<fim-middle>", pad: "<fim-pad>" },
  { prefix: "<｜fim▁begin｜>", suffix: "<｜fim▁hole｜>", middle: "<｜fim▁end｜>" },
  { prefix: "▁<PRE>", suffix: "▁<SUF>", middle: "▁<MID>", pad: "▁<EOT>" },
  { prefix: "[PREFIX]", suffix: "[SUFFIX]" },
];

/** Returns the fill-in-the-middle tokens of a model, or undefined if it has none. */
export function fimTokens(tokenizer: Pick<Tokenizer, "tokenToId">): FimTokens | undefined {
  const id = (name: string | undefined) => (name === undefined ? undefined : tokenizer.tokenToId(name));
  for (const names of KNOWN) {
    const [prefix, suffix, middle] = [id(names.prefix), id(names.suffix), id(names.middle)];
    if (prefix === undefined || suffix === undefined || (names.middle !== undefined && middle === undefined)) continue;
    const [file, repository] = [id(names.file), id(names.repository)];
    const ends = [id(names.pad), file, repository].filter((end) => end !== undefined);
    return { prefix, suffix, middle, file, repository, ends };
  }
  return undefined;
}

/**
 * Returns the ids of a prompt for the text in the middle, in the layout of llama.cpp's server.
 * @throws HeddleError UNSUPPORTED for a model without fill-in-the-middle tokens
 */
export async function infillIds(
  tokenizer: Tokenizer,
  { prefix, suffix, middle = "", extra = [] }: Infill,
  signal?: AbortSignal,
): Promise<{ ids: number[]; tokens: FimTokens }> {
  const tokens = fimTokens(tokenizer);
  if (!tokens)
    throw new HeddleError(
      "UNSUPPORTED",
      `infill: expected a model with fill-in-the-middle tokens (such as ${KNOWN[0]!.prefix}), got one without`,
    );
  // Special tokens in the texts are encoded as plain text, because the texts are contents of files.
  const options = { addSpecialTokens: false, addPrefixSpace: false, ...(signal && { signal }) };
  const encoded = (text: string) => (text === "" ? [] : tokenizer.encodeAsync(text, options));
  const ids: number[] = [];
  const add = (more: ArrayLike<number>) => {
    for (let i = 0; i < more.length; i++) ids.push(more[i]!);
  };
  add(withoutClosing(tokenizer, tokenizer.encode("")));
  const { file, repository } = tokens;
  const hasFiles = file !== undefined && repository !== undefined && extra.length > 0;
  if (hasFiles) {
    ids.push(repository);
    add(await encoded("project\n"));
  }
  for (const { text, filename = "file" } of extra) {
    if (hasFiles) ids.push(file);
    add(await encoded(hasFiles ? `${filename}\n${text}` : `${text}\n\n`));
  }
  if (hasFiles) {
    ids.push(file);
    add(await encoded("file\n"));
  }
  const before = [tokens.prefix, ...(await encoded(prefix))];
  const after = [tokens.suffix, ...(await encoded(suffix))];
  add(tokens.middle === undefined ? [...after, ...before] : [...before, ...after, tokens.middle]);
  add(await encoded(middle));
  return { ids, tokens };
}
