import { isWhole } from "../core/is-whole.ts";
import {
  gotText,
  type LocatedRow,
  noRowsError,
  type RowSource,
  readRows,
  rowError,
  stringField,
  stringsField,
} from "../data/rows.ts";
import type { LanguageModel, TextMessage } from "../language-model/index.ts";
import { withoutClosing } from "../tokenizer/prompt-ids.ts";

/** The question of a row. */
export interface Question {
  row: LocatedRow;
  /** Text that the model continues unchanged, without a template. */
  prompt?: string;
  /** A question, which is put into the chat template or into `template`. */
  question?: string;
  messages?: TextMessage[];
  /** Accepted answers. Empty for a question without a true answer. */
  answers: readonly string[];
  /** Answers to choose from. */
  choices?: readonly string[];
  /** Index of the correct choice. */
  right?: number;
  unanswerable: boolean;
}

/** How questions are presented to the model. */
export interface AskOptions {
  /** Whether to use the chat template. Default: true if the model has one. */
  chat?: boolean | undefined;
  /** System prompt, in a chat. */
  system?: string | undefined;
  /** Prompt template for models without a chat template. `{question}` is replaced by the question. */
  template?: string | undefined;
}

/** Default prompt template of a question as plain text. */
export const QUESTION_TEMPLATE = "Question: {question}\nAnswer:";

/**
 * Reads rows. Each row has `prompt`, `question` or `messages`. For multiple choice it also has `choices` and `answer`, which is a choice's
 * index or text. Otherwise it has `answer` or `answers`, which are texts. `unanswerable: true` marks a question without a true answer.
 * @throws HeddleError INVALID_FILE `file:line: …`, INVALID_ARGUMENT for rows in memory
 */
export async function readQuestions(
  source: RowSource,
  kind: "choice" | "qa",
  signal?: AbortSignal | undefined,
): Promise<Question[]> {
  const out: Question[] = [];
  for await (const row of readRows(source, { name: "rows", signal })) out.push(questionOf(row, kind));
  if (out.length === 0) throw noRowsError(source, "rows", "at least one question");
  return out;
}

function questionOf(row: LocatedRow, kind: "choice" | "qa"): Question {
  const has = (field: string) => Object.hasOwn(row.value, field);
  const asked = has("prompt") || has("question") || has("messages");
  if (!asked) throw rowError(row, "question", "a prompt, a question or messages", undefined);
  const unanswerable = row.value.unanswerable ?? false;
  if (typeof unanswerable !== "boolean") throw rowError(row, "unanswerable", "true or false", unanswerable);
  return {
    row,
    ...(has("messages")
      ? { messages: messagesOf(row) }
      : has("question")
        ? { question: stringField(row, "question", { empty: false }) }
        : { prompt: stringField(row, "prompt", { empty: false }) }),
    unanswerable,
    ...(kind === "choice" ? choicesOf(row, unanswerable) : { answers: answersOf(row, unanswerable) }),
  };
}

function messagesOf(row: LocatedRow): TextMessage[] {
  const { messages } = row.value;
  if (!Array.isArray(messages) || messages.length === 0)
    throw rowError(row, "messages", "an array of messages", messages);
  return messages.map((message, i) => {
    const { role, content } = (message ?? {}) as Record<string, unknown>;
    if (role !== "system" && role !== "user" && role !== "assistant")
      throw rowError(row, `messages[${i}].role`, "system, user or assistant", role);
    if (typeof content !== "string") throw rowError(row, `messages[${i}].content`, "a string", content);
    return { role, content };
  });
}

function answersOf(row: LocatedRow, unanswerable: boolean): readonly string[] {
  const several = Array.isArray(row.value.answers) || Array.isArray(row.value.answer);
  const field = Object.hasOwn(row.value, "answers") ? "answers" : "answer";
  if (unanswerable) return [];
  const answers = several ? stringsField(row, field) : [stringField(row, field)];
  if (answers.length === 0) throw rowError(row, field, "at least one accepted answer, or unanswerable: true", answers);
  return answers;
}

function choicesOf(row: LocatedRow, unanswerable: boolean) {
  const choices = stringsField(row, "choices");
  if (choices.length < 2) throw rowError(row, "choices", "at least two choices", choices);
  const empty = choices.indexOf("");
  if (empty >= 0) throw rowError(row, `choices[${empty}]`, "a text", "");
  if (unanswerable) return { choices, answers: [] };
  const { answer } = row.value;
  const right = typeof answer === "string" ? choices.indexOf(answer) : answer;
  if (!isWhole(right, 0, choices.length - 1))
    throw rowError(row, "answer", `one of the choices or an index of 0 to ${choices.length - 1}`, answer);
  return { choices, right: right as number, answers: [choices[right as number]!] };
}

/**
 * Returns a question as ids. For plain text, also returns the text, because its end and the first characters of an
 * answer may merge into one token.
 */
export async function promptOf(
  model: LanguageModel,
  asked: Question,
  options: AskOptions & { signal?: AbortSignal | undefined },
): Promise<{ text?: string; ids: number[] }> {
  const made = await encodeQuestion(model, asked, options);
  if (made.ids.length === 0) throw rowError(asked.row, fieldOf(asked), "at least one token", gotText("none"));
  needRoom(model, asked, made.ids.length);
  return made;
}

/** Throws if `tokens` tokens do not fit into the context. */
export function needRoom({ contextLength }: LanguageModel, asked: Question, tokens: number): void {
  if (tokens > contextLength)
    throw rowError(
      asked.row,
      fieldOf(asked),
      `at most ${contextLength} tokens, the context length`,
      gotText(`${tokens} tokens`),
    );
}

function fieldOf({ messages, question }: Question): string {
  return messages ? "messages" : question === undefined ? "prompt" : "question";
}

async function encodeQuestion(
  model: LanguageModel,
  { prompt, question, messages }: Question,
  { chat, system, template = QUESTION_TEMPLATE, signal }: AskOptions & { signal?: AbortSignal | undefined },
): Promise<{ text?: string; ids: number[] }> {
  const tokenizer = model.tokenizer!;
  if (prompt === undefined && (messages || (chat ?? tokenizer.hasChatTemplate))) {
    const turns: TextMessage[] = messages ?? [{ role: "user", content: question! }];
    const all = system === undefined ? turns : [{ role: "system" as const, content: system }, ...turns];
    return {
      ids: Array.from((await tokenizer.applyChatTemplateAsync(all, { addGenerationPrompt: true, signal })).ids),
    };
  }
  const text = prompt ?? template.replaceAll("{question}", () => question!);
  const ids = await tokenizer.encodeAsync(text, { allowSpecial: prompt !== undefined, ...(signal && { signal }) });
  return { text, ids: Array.from(withoutClosing(tokenizer, ids)) };
}
