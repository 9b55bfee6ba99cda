// Ctrl-C at the prompt of a chat: keys are sent to a readline terminal without a process.
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { LineInterrupt } from "../../../lib/cli/terminal/line-interrupt.ts";

function prompt() {
  const input = new PassThrough();
  const lines = createInterface({ input, output: new PassThrough().resume(), terminal: true, prompt: "> " });
  const said: string[] = [];
  const seen = { closed: false, lines: [] as string[] };
  const typed = new LineInterrupt(lines, (text) => said.push(text));
  lines.on("SIGINT", () => typed.press());
  lines.on("line", (line) => seen.lines.push(line));
  lines.on("close", () => {
    seen.closed = true;
  });
  const type = async (keys: string) => {
    input.write(keys);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { lines, said, seen, type };
}

const CTRL_C = "\x03";
const LEFT = "\x1b[D";

test("Ctrl-C clears a partly typed line, wherever the cursor is, and the chat continues", async () => {
  const { lines, said, seen, type } = prompt();
  await type(`half typed${LEFT}${LEFT}${CTRL_C}`);
  expect([lines.line, seen.closed, said]).toEqual(["", false, []]);
  await type("Hello\r");
  expect(seen.lines).toEqual(["Hello"]);
  lines.close();
});

test("Ctrl-C on an empty line shows how to quit, and a second press quits", async () => {
  const { lines, said, seen, type } = prompt();
  await type(CTRL_C);
  expect(seen.closed).toBe(false);
  expect(said).toEqual([expect.stringContaining("Press Ctrl-C again")]);
  await type("Hello\r"); // a line in between resets the count
  await type(CTRL_C);
  expect([seen.closed, said.length]).toEqual([false, 2]);
  await type(`x${CTRL_C}`);
  await type(CTRL_C);
  expect([seen.closed, said.length]).toEqual([false, 3]);
  await type(CTRL_C);
  expect(seen.closed).toBe(true);
  lines.close();
});
