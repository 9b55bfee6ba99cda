import { HeddleError } from "../../core/errors.ts";
import type { Chat, ChatCompletion, GenerateOptions } from "../../language-model/index.ts";
import { completionJson } from "../completion.ts";
import { type Color, painter } from "../terminal/color.ts";
import { type Output, oneLine } from "../terminal/output.ts";
import { chatCommands, isCommand, isKnownCommand, runCommand, type Talk } from "./chat-commands.ts";
import { MessageReader } from "./message-reader.ts";

/** Codes of errors after which a conversation cannot continue. */
const FATAL = new Set(["INTERNAL", "DISPOSED", "OUT_OF_MEMORY", "DEVICE_LOST"]);

/**
 * Reads messages and answers each, until the input ends. On a terminal, an error is printed and the conversation continues, unless the error
 * is FATAL. In a pipe, errors are thrown.
 * @param given.save called after each answer, to save the conversation
 * @returns the conversation at the end. `/load` and `/clear` replace the given conversation
 */
export async function converse(
  chat: Chat,
  { out, options, save }: { out: Output; options: GenerateOptions; save?: ((chat: Chat) => Promise<void>) | undefined },
): Promise<Chat> {
  const isTerminal = process.stdin.isTTY === true;
  const paint = painter(process.stderr);
  const note = (text: string) => out.log(paint("dim", text));
  const reader = new MessageReader(
    isTerminal
      ? {
          prompt: paint("cyan", "> "),
          more: paint("dim", "… "),
          say: note,
          words: Object.keys(chatCommands).map((name) => `/${name}`),
        }
      : undefined,
  );
  const talk: Talk = { chat, say: note, show: (text) => out.log(text), leave: () => reader.close() };
  let answering: AbortController | undefined;
  reader.interrupt = () => {
    answering?.abort();
    return answering !== undefined;
  };
  const tell = (error: unknown) => {
    if (!(error instanceof HeddleError) || FATAL.has(error.code)) throw error;
    out.endLine();
    out.log(paint("red", oneLine(error.message)));
  };
  try {
    for await (const { text, isLine } of reader) {
      if (text.trim() === "") continue;
      // In a pipe, any line may begin with a slash, and nobody would read a note about a misspelled command.
      if (isLine && (isTerminal ? isCommand(text) : isKnownCommand(text))) {
        const run = runCommand(text, talk);
        await (isTerminal ? run.catch(tell) : run);
        if (isTerminal) out.log("");
        continue;
      }
      answering = new AbortController();
      try {
        const whole = await answer(talk.chat, text, { ...options, signal: answering.signal }, out);
        if (isTerminal && whole.finishReason === "length") note(cutAfter(whole));
        await save?.(talk.chat);
      } catch (error) {
        if (error instanceof HeddleError && error.code === "ABORTED") {
          out.endLine();
          if (out.json) out.object({ finishReason: "aborted" });
          else if (isTerminal) note("(stopped; the conversation is as it was before)");
        } else if (isTerminal) tell(error);
        else throw error;
      } finally {
        answering = undefined;
      }
      if (isTerminal) out.log("");
    }
    // After Ctrl-D the cursor is still on the line of the prompt.
    if (isTerminal) out.log("");
  } finally {
    reader.close();
  }
  return talk.chat;
}

function cutAfter({ tokens }: ChatCompletion): string {
  return `(cut after ${tokens.length} tokens; --max-tokens sets the limit)`;
}

const COLORS: Readonly<Partial<Record<Part, Color>>> = { reasoning: "dim", call: "magenta" };
type Part = "reasoning" | "text" | "call";

/** Writes an answer as it is generated. Reasoning, text and calls are separate paragraphs. */
async function answer(chat: Chat, text: string, options: GenerateOptions, out: Output): Promise<ChatCompletion> {
  const reply = chat.send(text, options);
  if (out.json) {
    const whole = await reply;
    out.object(completionJson(whole));
    return whole;
  }
  const paint = painter(process.stdout);
  let written: "" | Part | "other" = "";
  const write = (kind: Part, part: string) => {
    if (part === "") return;
    if (written !== "" && written !== kind) out.write("\n\n");
    written = kind;
    const color = COLORS[kind];
    out.write(color ? paint(color, part) : part);
  };
  for await (const piece of reply) {
    write("reasoning", piece.reasoning);
    write("text", piece.text);
    for (const { name, arguments: more } of piece.calls) {
      // A name begins a new call, which is a new paragraph even after another call.
      if (name !== undefined) written = written === "" ? "" : "other";
      write("call", name === undefined ? more : `${name} ${more}`);
    }
  }
  out.endLine();
  return reply;
}
