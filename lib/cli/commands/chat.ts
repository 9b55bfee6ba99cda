import { basename } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import { withoutUndefined } from "../../core/without-undefined.ts";
import { exists, readJson } from "../../io/atomic-files.ts";
import { parseJson } from "../../io/json.ts";
import type { Chat, ChatOptions, LanguageModel } from "../../language-model/index.ts";
import { converse } from "../chat/converse.ts";
import { loadConversation } from "../chat/saved-conversation.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, needTokenizer, openModel } from "../options/model-options.ts";
import { generateOptions, samplingOptions } from "../options/sampling-options.ts";
import { standardInput } from "../options/standard-input.ts";
import { painter } from "../terminal/color.ts";
import { type Output, oneLine } from "../terminal/output.ts";

export const command = defineCommand({
  about:
    "Chats with a model. /help lists the commands, such as /system, /save and /load. Ctrl-C stops an answer, Ctrl-D leaves. A base model continues your text.",
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
    resume: {
      kind: "string",
      value: "FILE",
      about: "continue the conversation that /save wrote to FILE",
    },
    ...samplingOptions,
    ...loadOptions,
  },
  async run({ options, out }) {
    const generation = { contextOverflow: "truncateLeft" as const, ...withoutUndefined(generateOptions(options)) };
    standardInput(); // a folder is refused before the model is loaded
    const { beginning, names } = await newChatOptions(options);
    const { session } = options;
    if (session !== undefined && options.resume !== undefined)
      throw new HeddleError("INVALID_ARGUMENT", "--resume: cannot be used together with --session");
    const model = await openModel(options);
    try {
      needTokenizer(model);
      const chat = await openChat(model, options, beginning, names);
      if (process.stdin.isTTY) greet(out, model);
      const save = session === undefined ? undefined : (chat: Chat) => chat.save(session);
      (await converse(chat, { options: generation, out, save })).dispose();
    } finally {
      await model.dispose();
    }
  },
});

/** Returns the options of a new conversation, and the names of the flags that set them. */
async function newChatOptions(options: {
  system?: string;
  tools?: string;
  "template-variables"?: string;
}): Promise<{ beginning: ChatOptions; names: string[] }> {
  const { system, tools, "template-variables": variables } = options;
  const beginning = {
    ...(system !== undefined && { system }),
    ...(tools !== undefined && { tools: await readJson(tools) }),
    ...(variables !== undefined && {
      variables: parseJson(variables, "--template-variables", { code: "INVALID_ARGUMENT" }),
    }),
  } as ChatOptions; // chat() checks the values
  const names = (["system", "tools", "template-variables"] as const).filter((name) => options[name] !== undefined);
  return { beginning, names };
}

/** Opens the conversation of a session file or of a saved file, or a new one. */
async function openChat(
  model: LanguageModel,
  { session, resume }: { session?: string; resume?: string },
  beginning: ChatOptions,
  names: readonly string[],
): Promise<Chat> {
  const isNew = resume === undefined && (session === undefined || !(await exists(session)));
  if (isNew) return model.chat(beginning);
  const [name] = names;
  if (name !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `--${name}: cannot be set for an existing conversation`);
  return resume === undefined ? model.loadChat(session!) : loadConversation(resume, model);
}

/** Prints the model's name and the most important commands and keys. */
function greet(out: Output, model: LanguageModel): void {
  const paint = painter(process.stderr);
  const isBase = model.tokenizer?.config.chatTemplates.default === undefined;
  const kind = isBase
    ? "a base model, which continues your text"
    : `context ${model.contextLength.toLocaleString("en")}`;
  out.log(`${paint("bold", oneLine(nameOf(model)))} ${paint("dim", `(${kind})`)}`);
  out.log(paint("dim", "/help lists commands. Ctrl-C stops an answer, Ctrl-D leaves.\n"));
}

function nameOf({ name, path, card }: LanguageModel): string {
  return name ?? card?.name ?? (path === undefined ? "default" : basename(path));
}
