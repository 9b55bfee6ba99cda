// Completes command lines from the table of commands and their options.
import { cachedNames } from "../../hub/cached-models.ts";
import { ollamaModels } from "../../hub/ollama.ts";
import type { AnyCommand, CommandTable, OptionSpec, OptionSpecs } from "../command.ts";
import { commonOptions } from "../command.ts";
import { oneLine } from "../terminal/output.ts";
import { type Offer, offerOf, positionalsOf } from "./placeholders.ts";

/** A word that may come next. */
interface Candidate {
  text: string;
  about?: string | undefined;
}

interface Completion {
  candidates: Candidate[];
  /** Which paths may come too: none, files or folders. The shell completes them. */
  files: Offer["files"];
}

const NOTHING: Completion = { candidates: [], files: "none" };
const HELP = { text: "--help", about: "show the usage" };

/**
 * Completes a command line.
 * @param words the words after `heddle` and before the word at the cursor
 * @param current the typed part of the word at the cursor
 */
export async function completeLine(
  words: readonly string[],
  current: string,
  table: CommandTable,
): Promise<Completion> {
  let at = 0;
  for (;;) {
    const word = words[at++];
    if (word === undefined) {
      const named = Object.entries(table).map(([text, { about }]) => ({ text, about }));
      // Offer --help only after a dash.
      return starting(current, [...named, HELP], current.startsWith("-") ? [] : [HELP]);
    }
    const found = Object.hasOwn(table, word) ? await table[word]!.load() : undefined;
    if (!found) return NOTHING;
    if (!("commands" in found)) return completeArguments(found, words.slice(at), current);
    table = found.commands;
  }
}

async function completeArguments(command: AnyCommand, words: readonly string[], current: string): Promise<Completion> {
  const specs = specsOf(command);
  const used = new Set<string>();
  let position = 0;
  let hasEnded = false;
  /** The option whose value is next. */
  let open: OptionSpec | undefined;
  for (const word of words) {
    if (open) open = undefined;
    else if (hasEnded || !word.startsWith("-") || word === "-") position++;
    else if (word === "--") hasEnded = true;
    else {
      const [name = ""] = word.slice(2).split("=", 1);
      used.add(name);
      const spec = Object.hasOwn(specs, name) ? specs[name] : undefined;
      if (spec && spec.kind !== "flag" && !word.includes("=")) open = spec;
    }
  }
  if (open) return completeValue(open.value, current);
  if (!hasEnded && current.startsWith("-")) {
    const equals = current.indexOf("=");
    if (equals < 0) {
      const left = Object.entries(specs).filter(([name, { repeated }]) => repeated || !used.has(name));
      return starting(current, [...left.map(([name, { about }]) => ({ text: `--${name}`, about })), HELP]);
    }
    const name = current.slice(2, equals);
    const value = Object.hasOwn(specs, name) ? specs[name]!.value : undefined;
    const { candidates, files } = await completeValue(value, current.slice(equals + 1));
    return { candidates: candidates.map((one) => ({ ...one, text: `--${name}=${one.text}` })), files };
  }
  const { usage, most } = command.positionals ?? { usage: "", most: 0 };
  if (position >= most) return NOTHING;
  const all = positionalsOf(usage);
  return completeValue(all[Math.min(position, all.length - 1)], current);
}

/** Returns the options that a command takes. */
function specsOf(command: AnyCommand): OptionSpecs {
  const common = Object.entries(commonOptions).filter(([name]) => !Object.hasOwn(command.without ?? {}, name));
  return {
    ...command.options,
    ...Object.fromEntries(common.filter(([name]) => !Object.hasOwn(command.options, name))),
  };
}

async function completeValue(placeholder: string | undefined, current: string): Promise<Completion> {
  const offer = placeholder === undefined ? undefined : offerOf(placeholder, current);
  if (!offer) return NOTHING;
  const words = offer.words.map((text) => ({ text }));
  // If `NAME=` precedes the model, keep it in every candidate.
  const before = offer.models ? current.slice(0, current.indexOf("=") + 1) : "";
  const models = offer.models ? await modelNames(offer.files === "none") : [];
  return {
    ...starting(current, [...words, ...models.map((one) => ({ ...one, text: before + one.text }))]),
    files: offer.files,
  };
}

/** Matches names that need no quotes in any shell. Other names are not offered. */
const PLAIN = /^[\w./:@+-]+$/;

/** Returns the names of cached models. Without `isCacheOnly`, adds `default` and Ollama's models. An unreadable cache counts as empty. */
async function modelNames(isCacheOnly: boolean): Promise<Candidate[]> {
  const cached = (await cachedNames().catch(() => [])).map((text) => ({ text, about: "in the cache" }));
  if (isCacheOnly) return cached.filter(({ text }) => PLAIN.test(text));
  const ollama = (await ollamaModels().catch(() => [])).map(({ name }) => ({ text: name, about: "of Ollama" }));
  return [{ text: "default", about: "the embedded model" }, ...cached, ...ollama].filter(({ text }) =>
    PLAIN.test(text),
  );
}

/** Returns the candidates that begin with the typed part, except those in `without`. */
function starting(current: string, candidates: readonly Candidate[], without: readonly Candidate[] = []): Completion {
  return {
    candidates: candidates.filter((one) => one.text.startsWith(current) && !without.includes(one)),
    files: "none",
  };
}

/**
 * Joins Bash's words into the words of the command line. Bash splits words at `=` and `:` too.
 * @param index index of the word at the cursor
 * @returns `before`: the words before the word at the cursor; `current`: the typed part of that word; `cut`: the number of characters at the
 *   beginning of `current` that Bash counts as earlier words
 */
export function joinBashWords(
  words: readonly string[],
  index: number,
): { before: string[]; current: string; cut: number } {
  const joined: string[] = [];
  let isOpen = false;
  for (const word of [...words.slice(0, index), words[index] ?? ""]) {
    const isSign = /^[=:]+$/.test(word);
    if ((isSign || isOpen) && joined.length > 0) joined[joined.length - 1] += word;
    else joined.push(word);
    isOpen = isSign;
  }
  const current = joined.pop()!;
  const isWhole = current === (words[index] ?? "") && !/[=:]$/.test(current);
  return {
    before: joined,
    current,
    cut: isWhole ? 0 : Math.max(current.lastIndexOf("="), current.lastIndexOf(":")) + 1,
  };
}

/** Formats a completion for the scripts: a line for each candidate, then `:none`, `:files` or `:folders`. */
export function completionLines({ candidates, files }: Completion, { cut = 0, describes = true } = {}): string {
  const lines = candidates.map(({ text, about }) => {
    return describes && about !== undefined ? `${text}\t${oneLine(about)}` : text.slice(cut);
  });
  return [...lines, `:${files}`].join("\n");
}
