import { homedir } from "node:os";
import { join } from "node:path";
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { exists, readJson } from "../../io/atomic-files.ts";
import type { Chat, ChatOptions, LanguageModel } from "../../language-model/index.ts";
import { writeText } from "../terminal/output-file.ts";

/**
 * Writes a conversation as JSON that `model.chat` accepts. An existing file is replaced only if it is a conversation.
 * @throws HeddleError INVALID_ARGUMENT if the existing file is not a conversation, NOT_FOUND, IO
 */
export async function saveConversation(given: string, chat: Chat): Promise<void> {
  const path = withHome(given);
  if ((await exists(path)) && !isConversation(await readJson(path).catch(() => undefined)))
    throw new HeddleError("INVALID_ARGUMENT", `${path}: expected a new file or a saved conversation, got another file`);
  await writeText(path, `${JSON.stringify(chat, null, 2)}\n`);
}

/** Loads a conversation. @throws HeddleError NOT_FOUND, IO, INVALID_FILE */
export async function loadConversation(given: string, model: LanguageModel): Promise<Chat> {
  const path = withHome(given);
  const state = await readJson(path);
  if (!isConversation(state))
    throw new HeddleError("INVALID_FILE", `${path}: expected a conversation { messages }, got ${describe(state)}`);
  try {
    return model.chat(state);
  } catch (error) {
    if (!(error instanceof HeddleError && error.code === "INVALID_ARGUMENT")) throw error;
    throw new HeddleError("INVALID_FILE", `${path}: ${error.message}`, { cause: error });
  }
}

function isConversation(state: unknown): state is ChatOptions {
  return isObject(state) && Array.isArray(state.messages);
}

/** Expands a leading `~`, because no shell expands the path of a chat command. */
function withHome(path: string): string {
  return /^~(?=$|[\\/])/.test(path) ? join(homedir(), path.slice(1)) : path;
}
