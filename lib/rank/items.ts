import { HeddleError } from "../core/errors.ts";
import { type LocatedRow, readRows, rowError, stringField, stringsField } from "../data/rows.ts";
import { ioError } from "../io/atomic-files.ts";
import { readWhole } from "../io/open-file.ts";
import type { TextMessage } from "../language-model/index.ts";

/** Maximum size in bytes of a text file of prompts. No larger file is needed, because people judge prompts one by one. */
const MAX_TEXT_BYTES = 1 << 28;

/** A prompt with two or more answers to judge. */
export interface RankItem {
  /** Index of the prompt in the file, from 0. */
  readonly id: number;
  /** The prompt as for preference training: a text to continue, or messages. */
  readonly prompt: string | readonly TextMessage[];
  /** Answers given with the prompt, or generated later. */
  answers?: readonly string[] | undefined;
}

/**
 * Reads the prompts of a file. Rows of a .jsonl file have `prompt` (a text or messages), `question` or `messages`, and optionally `answers`.
 * Any other file has a prompt on each line. A byte-order mark is not part of the first prompt.
 * @param chat whether to treat texts as user messages in a chat, instead of texts to continue
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE `file:line: …`
 */
export async function readItems(path: string, { chat }: { chat: boolean }): Promise<RankItem[]> {
  const items = /\.(jsonl|ndjson)$/i.test(path) ? await itemsOfRows(path, chat) : await itemsOfLines(path, chat);
  if (items.length === 0) throw new HeddleError("INVALID_FILE", `${path}: expected at least one prompt, got none`);
  return items;
}

async function itemsOfLines(path: string, chat: boolean): Promise<RankItem[]> {
  let text: string;
  try {
    text = (await readWhole(path, MAX_TEXT_BYTES, { pipes: true })).toString("utf8").replace(/^\ufeff/, "");
  } catch (error) {
    throw ioError(error, path, "read");
  }
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  return lines.map((line, id) => ({ id, prompt: chat ? [{ role: "user", content: line.trim() }] : line }));
}

async function itemsOfRows(path: string, chat: boolean): Promise<RankItem[]> {
  const items: RankItem[] = [];
  for await (const row of readRows(path, { name: "prompts" })) {
    const prompt = promptOf(row, chat);
    const answers = Object.hasOwn(row.value, "answers") ? stringsField(row, "answers") : undefined;
    if (answers && (answers.length < 2 || answers.some((a) => a.trim() === "")))
      throw rowError(row, "answers", "at least two answers that are not empty", answers);
    items.push({ id: items.length, prompt, answers });
  }
  return items;
}

function promptOf(row: LocatedRow, chat: boolean): RankItem["prompt"] {
  const { messages } = row.value;
  const given = Array.isArray(messages) ? messages : row.value.prompt;
  if (Array.isArray(given)) return given.map((message, i) => messageOf(row, i, message));
  if (Object.hasOwn(row.value, "question"))
    return [{ role: "user", content: stringField(row, "question", { empty: false }) }];
  const text = stringField(row, "prompt", { empty: false });
  return chat ? [{ role: "user", content: text }] : text;
}

function messageOf(row: LocatedRow, index: number, message: unknown): TextMessage {
  const { role, content } = (message ?? {}) as Record<string, unknown>;
  if (role !== "system" && role !== "user" && role !== "assistant")
    throw rowError(row, `prompt[${index}].role`, "system, user or assistant", role);
  if (typeof content !== "string") throw rowError(row, `prompt[${index}].content`, "a string", content);
  return { role, content };
}
