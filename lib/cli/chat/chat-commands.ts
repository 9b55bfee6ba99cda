// The commands of a chat: lines that begin with a slash.
import { HeddleError } from "../../core/errors.ts";
import { unknownName } from "../../core/nearest-name.ts";
import { contentText } from "../../language-model/chat/conversation.ts";
import type { Chat } from "../../language-model/index.ts";
import { columns } from "../usage.ts";
import { loadConversation, saveConversation } from "./saved-conversation.ts";

/** A conversation that commands can change. */
export interface Talk {
  chat: Chat;
  /** Prints a note about the effect of a command. */
  say: (text: string) => void;
  /** Prints the output of a command. */
  show: (text: string) => void;
  /** Ends the chat. */
  leave: () => void;
}

interface ChatCommand {
  /** The name of the command's argument, if the command has one. */
  takes?: string;
  about: string;
  run(talk: Talk, argument: string): void | Promise<void>;
}

/** The commands of a chat by name. */
export const chatCommands: Readonly<Record<string, ChatCommand>> = {
  help: {
    about: "show this list",
    run: ({ show }) => show(help()),
  },
  clear: {
    about: "forget the conversation, but not the system prompt",
    run(talk) {
      const { messages, ...rest } = talk.chat.toJSON();
      const kept = messages.filter(({ role }, i) => i === 0 && role === "system");
      replace(talk, talk.chat.languageModel.chat({ ...rest, messages: kept }));
      talk.say("The conversation is empty.");
    },
  },
  system: {
    takes: "TEXT",
    about: "set the system prompt; without TEXT, show it",
    run({ chat, say, show }, text) {
      const [first] = chat.messages;
      const present = first?.role === "system" ? first : undefined;
      if (text === "" && present) return show(contentText(present.content));
      if (text === "") return say("There is no system prompt.");
      chat.messages.splice(0, present ? 1 : 0, { role: "system", content: text });
      say("The system prompt is set.");
    },
  },
  save: {
    takes: "FILE",
    about: "save the conversation as JSON",
    async run({ chat, say }, path) {
      await saveConversation(needed("save", path), chat);
      say(`Saved ${counted(chat)} to ${path}.`);
    },
  },
  load: {
    takes: "FILE",
    about: "continue a saved conversation",
    async run(talk, path) {
      replace(talk, await loadConversation(needed("load", path), talk.chat.languageModel));
      talk.say(`Loaded ${counted(talk.chat)} from ${path}.`);
    },
  },
  exit: {
    about: "leave, like Ctrl-D",
    run: ({ leave }) => leave(),
  },
};

const COMMAND = /^\/([a-z]*)(?:\s+(.*))?$/iu;

/** Whether a line is a command. Paths such as `/etc/hosts` and lines that begin with a blank are messages. */
export function isCommand(line: string): boolean {
  return COMMAND.test(line.trimEnd());
}

/** Whether a line is a command that exists. Some models take messages that begin with a slash too, such as `/no_think`. */
export function isKnownCommand(line: string): boolean {
  const name = COMMAND.exec(line.trimEnd())?.[1];
  return name !== undefined && Object.hasOwn(chatCommands, name);
}

/** Runs a command. @throws HeddleError INVALID_ARGUMENT for an unknown command or a wrong argument; errors of the command itself */
export async function runCommand(line: string, talk: Talk): Promise<void> {
  const [, name = "", argument = ""] = COMMAND.exec(line.trimEnd()) ?? [];
  const names = Object.keys(chatCommands);
  if (!Object.hasOwn(chatCommands, name)) throw unknownName(`/${name}`, name.toLowerCase(), names, "command", "/");
  const command = chatCommands[name]!;
  if (command.takes === undefined && argument !== "")
    throw new HeddleError("INVALID_ARGUMENT", `/${name}: expected no argument, got ${JSON.stringify(argument)}`);
  await command.run(talk, argument);
}

function help(): string {
  const listed = Object.entries(chatCommands).map(([name, { takes, about }]) => {
    return [`/${name}${takes === undefined ? "" : ` ${takes}`}`, about] as const;
  });
  const typing = [
    ["\\", "at the end of a line continues the message on the next"],
    ['"""', "begins and ends a message of several lines"],
    ["blank", "at the start of a line makes it a message, not a command"],
    ["Ctrl-C", "stops an answer, or clears the line"],
    ["Ctrl-D", "leaves"],
  ] as const;
  return columns([...listed, ...typing]);
}

function replace(talk: Talk, chat: Chat): void {
  talk.chat.dispose();
  talk.chat = chat;
}

function needed(name: string, path: string): string {
  if (path === "") throw new HeddleError("INVALID_ARGUMENT", `/${name}: expected the path of a file, got nothing`);
  return path;
}

function counted({ messages }: Chat): string {
  return messages.length === 1 ? "1 message" : `${messages.length} messages`;
}
