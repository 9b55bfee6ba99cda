import { HeddleError } from "../../core/errors.ts";
import { readRows, rowError } from "../../data/rows.ts";
import { isPrompt, type Prompt } from "../../language-model/prompt.ts";
import { standardInput } from "./standard-input.ts";

/** Returns the prompt of a command line: TEXT (`-` is stdin), or `--token-ids`. */
export async function promptOf(positionals: readonly string[], ids: number[] | undefined): Promise<Prompt> {
  const [text] = positionals;
  if (text !== undefined && ids !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", "--token-ids: cannot be combined with a text prompt");
  if (ids !== undefined) return ids;
  if (text === undefined) throw new HeddleError("INVALID_ARGUMENT", "prompt: expected a text or --token-ids, got none");
  const given = await givenText(text);
  return text === "-" ? given.replace(/^\ufeff/, "") : given;
}

/**
 * Returns a text argument. `-` reads stdin, without the final line end that `echo` and editors add. A byte-order mark stays, because
 * `tokenize` shows the tokens of all characters.
 * @throws HeddleError INVALID_FILE
 */
export async function givenText(text: string): Promise<string> {
  if (text !== "-") return text;
  let all = "";
  for await (const part of standardInput().setEncoding("utf8")) all += part;
  return all.replace(/\r?\n$/, "");
}

/** Number of prompts per call of the model: twice the maximum number of sequences that the model runs at once. */
const BATCH = 64;

/**
 * Yields batches of prompts from a file's rows (`prompt`: a text or ids).
 * @throws HeddleError INVALID_ARGUMENT if a prompt was given too, NOT_FOUND, INVALID_FILE `file:line: …`
 */
export function promptBatches(
  file: string,
  { positionals, ids }: { positionals: readonly string[]; ids: number[] | undefined },
): AsyncGenerator<Prompt[], void, undefined> {
  if (positionals.length > 0 || ids !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", "--file: cannot be combined with a prompt");
  return batchesOf(file);
}

async function* batchesOf(file: string): AsyncGenerator<Prompt[], void, undefined> {
  let batch: Prompt[] = [];
  for await (const row of readRows(file, { name: "file" })) {
    const { prompt } = row.value;
    if (!isPrompt(prompt) || prompt.length === 0)
      throw rowError(row, "prompt", "a text or an array of token ids", prompt);
    batch.push(prompt);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
