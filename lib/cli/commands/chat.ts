import { createInterface, type Interface } from "node:readline";
import { HeddleError } from "../../core/errors.ts";
import { exists, readJson } from "../../io/atomic-files.ts";
import { parseJson } from "../../io/json.ts";
import type { Chat, ChatOptions, GenerateOptions, LanguageModel } from "../../language-model/index.ts";
import { defineCommand } from "../command.ts";
import { completionJson } from "../completion.ts";
import { loadOptions, needTokenizer, openModel } from "../options/model-options.ts";
import { generateOptions, samplingOptions } from "../options/sampling-options.ts";
import { LineInterrupt } from "../terminal/line-interrupt.ts";
import type { Output } from "../terminal/output.ts";

export const command = defineCommand({
  about: "Chats with a model. Press Ctrl-C to stop an answer, Ctrl-D to exit. A base model continues your text.",
  options: {
    system: { kind: "string", value: "TEXT", about: "system prompt" },
    tools: {
      kind: "string",
      value: "FILE",
      about: "JSON file with an array of tool definitions, for chat templates that support tools",
    },
    "template-variables": {
      kind: "string",
      value: "JSON",
      about: `additional variables for the chat template, such as '{ "enable_thinking": false }'`,
      named: "variables",
    },
    session: {
      kind: "string",
      value: "FILE",
      about: "continue the conversation in FILE, if it exists, and save to it after every answer",
    },
    ...samplingOptions,
    ...loadOptions,
  },
  async run({ options, out }) {
    const generation = { contextOverflow: "truncateLeft" as const, ...given(generateOptions(options)) };
    const { beginning, names } = await begun(options);
    const model = await openModel(options);
    try {
      needTokenizer(model);
      const chat = await openChat(model, options.session, beginning, names);
      if (process.stdin.isTTY) greet(out, model.tokenizer?.config.chatTemplates.default !== undefined);
      await converse(chat, generation, out, options.session);
      chat.dispose();
    } finally {
      await model.dispose();
    }
  },
});

/** Returns the initial state and the options of a new conversation. */
async function begun(options: {
  system?: string;
  tools?: string;
  "template-variables"?: string;
}): Promise<{ beginning: ChatOptions; names: string[] }> {
  const { system, tools, "template-variables": variables } = options;
  const beginning = {
    ...(system !== undefined && { system }),
    ...(tools !== undefined && { tools: await readJson(tools) }),
    ...(variables !== undefined && { variables: parseJson(variables, "--template-variables") }),
  } as ChatOptions; // chat() checks the values
  const names = (["system", "tools", "template-variables"] as const).filter((name) => options[name] !== undefined);
  return { beginning, names };
}

/** Opens the conversation of the session file, or a new one. */
async function openChat(
  model: LanguageModel,
  session: string | undefined,
  beginning: ChatOptions,
  names: readonly string[],
): Promise<Chat> {
  if (session === undefined || !(await exists(session))) return model.chat(beginning);
  const [name] = names;
  if (name !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `--${name}: cannot be set for an existing conversation`);
  return model.loadChat(session);
}

function given(options: GenerateOptions): GenerateOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function greet(out: Output, hasTemplate: boolean): void {
  out.log(
    hasTemplate
      ? "Press Ctrl-C to stop an answer, Ctrl-D to exit."
      : "This is a base model: it continues your text. Press Ctrl-C to stop it, Ctrl-D to exit.",
  );
}

/** Reads lines and answers each, until the input ends or Ctrl-C is pressed on an empty line. */
async function converse(chat: Chat, options: GenerateOptions, out: Output, session?: string): Promise<void> {
  const terminal = process.stdin.isTTY === true;
  const lines = createInterface({ input: process.stdin, output: terminal ? process.stderr : undefined, prompt: "> " });
  let answering: AbortController | undefined;
  const typed = new LineInterrupt(lines, (text) => out.log(text));
  const interrupt = () => {
    if (answering) answering.abort();
    else lines.close();
  };
  // On a terminal, readline reports Ctrl-C. With other input, the process receives SIGINT.
  lines.on("SIGINT", () => (answering ? answering.abort() : typed.press()));
  process.on("SIGINT", interrupt);
  try {
    for await (const line of prompted(lines, terminal)) {
      if (line.trim() === "") continue;
      answering = new AbortController();
      try {
        await answer(chat, line, { ...options, signal: answering.signal }, out);
        if (session !== undefined) await chat.save(session);
      } catch (error) {
        if (!(error instanceof HeddleError && error.code === "ABORTED")) throw error;
        out.endLine();
        if (out.json) out.object({ finishReason: "aborted" });
      } finally {
        answering = undefined;
      }
    }
  } finally {
    process.off("SIGINT", interrupt);
    lines.close();
  }
}

async function* prompted(lines: Interface, terminal: boolean): AsyncGenerator<string, void, undefined> {
  if (terminal) lines.prompt();
  for await (const line of lines) {
    yield line;
    if (terminal) lines.prompt();
  }
}

async function answer(chat: Chat, text: string, options: GenerateOptions, out: Output): Promise<void> {
  if (out.json) {
    out.object(completionJson(await chat.send(text, options)));
    return;
  }
  for await (const piece of chat.send(text, options)) out.write(piece.text);
  out.endLine();
}
