// One checked-in list has all messages, so that a review shows each change of wording.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { britishWords } from "./spelling.ts";

const { allMessages, messagesFile } = (await import(
  new URL("../../scripts/list-messages.mjs", import.meta.url).href
)) as { allMessages: () => string; messagesFile: string };

const listed = readFileSync(messagesFile, "utf8").replaceAll("\r\n", "\n");

test("the list of messages matches the code (npm run messages updates it)", () => {
  expect(allMessages()).toBe(listed);
});

test("messages and help texts have American spelling", () => {
  const texts = listed.split("\n").filter((line) => line.startsWith("  ")); // the other lines are names of files
  expect(texts.filter((line) => britishWords(line).length > 0)).toEqual([]);
});

test.each([
  ["an argument's error", '"temperature" "a number of at least 0"'],
  ["a native error", '"DISPOSED", "executable: used after dispose()"'],
  ["a help text of the command line", 'about: "leave, like Ctrl-D"'],
  ["a help text of a training option", 'help: "sampling temperature"'],
  ["a help text that one stage has for an option", 'help: "answers per micro-batch"'],
  ["a refusal in a table", '"is not supported: pass max_output_tokens"'],
  ["a description of damage", '"expected a manifest, got none that can be read"'],
])("the list holds %s", (_kind, line) => {
  expect(listed.split("\n")).toContain(`  ${line}`);
});
