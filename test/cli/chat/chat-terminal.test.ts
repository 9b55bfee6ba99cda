// A chat in a pseudo-terminal: keys, pastes, history and colors.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { hasTerminal, inTerminal, type Terminal } from "../terminal.ts";
import { folder, model } from "../tiny.ts";

const CTRL_C = "\x03";
const CTRL_D = "\x04";
const UP = "\x1b[A";
const paste = (text: string) => `\x1b[200~${text.replaceAll("\n", "\r")}\x1b[201~`;
/** Escape codes that color text. */
const COLOR = new RegExp(`${"\x1b"}\\[[\\d;]*m`);

let terminal: Terminal | undefined;
afterEach(() => terminal?.kill());

async function chat(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Terminal> {
  const given = ["chat", "--model", model, "--temperature", "0", "--ignore-eos", "--max-tokens", "4", ...args];
  terminal = inTerminal(given, { cwd: folder, env });
  await terminal.until("> ");
  return terminal;
}

/** Saves the conversation, and returns what the user said. */
async function said({ type, until }: Terminal, name: string): Promise<string[]> {
  type(`/save ${name}\r`);
  await until("Saved");
  const { messages } = JSON.parse(await readFile(join(folder, name), "utf8"));
  return messages
    .filter(({ role }: { role: string }) => role === "user")
    .map(({ content }: { content: string }) => content);
}

describe.runIf(hasTerminal)("a chat in a terminal", () => {
  test("shows the model's name, answers, and exits at Ctrl-D", async () => {
    const { type, until, closed, output } = await chat();
    expect(output).toContain("\x1b[1mmodel\x1b[22m \x1b[2m(a base model");
    expect(output).toContain("/help lists commands.");
    type("The cat\r");
    await until("cut after 4 tokens");
    await until("> ");
    type(CTRL_D);
    expect(await closed).toBe(0);
    // At exit, bracketed paste mode is switched off.
    expect(terminal!.output.lastIndexOf("\x1b[?2004l")).toBeGreaterThan(terminal!.output.lastIndexOf("\x1b[?2004h"));
  });

  test("a paste of several lines and the text typed around it are one message, which Enter sends", async () => {
    const it = await chat();
    it.type(`before ${paste("one\n\ttwo\n\nthree")} after`);
    await it.until("after");
    it.type("\r");
    await it.until("cut after");
    it.type(`${paste("whole\nlines\n")}`);
    await it.until("lines");
    it.type("\r");
    await it.until("cut after");
    expect(await said(it, "paste.json")).toEqual(["before one\n\ttwo\n\nthree after", "whole\nlines\n"]);
  });

  test("lines are continued with a backslash and in quotes, and Ctrl-C drops an unfinished message", async () => {
    const it = await chat();
    it.type("one\\\r");
    await it.until("… ");
    it.type("two\r");
    await it.until("cut after");
    it.type('"""\rdropped\rhalf');
    await it.until("half");
    it.type(CTRL_C);
    await it.until("> ");
    it.type('"""three\r"""\r');
    await it.until("cut after");
    expect(await said(it, "lines.json")).toEqual(["one\ntwo", "three"]);
  });

  test("the arrow keys bring back earlier lines, and Tab completes commands", async () => {
    const it = await chat();
    it.type("The cat\r");
    await it.until("cut after");
    it.type("The dog\r");
    await it.until("cut after");
    it.type(`${UP}${UP}\r`);
    await it.until("cut after");
    it.type("/he");
    await it.until("/he");
    it.type("\t");
    await it.until("lp");
    it.type("\r");
    await it.until("begins and ends a message");
    expect(await said(it, "history.json")).toEqual(["The cat", "The dog", "The cat"]);
  });

  test("Ctrl-C stops an answer and removes it from the chat, which continues", async () => {
    const long = ["chat", "--model", model, "--ignore-eos", "--max-tokens", "1000000"];
    terminal = inTerminal(long, { cwd: folder });
    const it = terminal;
    await it.until("> ");
    it.type("The cat\r");
    await it.until(/cat[\s\S]{60}/);
    it.type(CTRL_C);
    await it.until("(stopped;");
    await it.until("> ");
    expect(await said(it, "stopped.json")).toEqual([]);
    // On an empty line, the second Ctrl-C exits.
    it.type(CTRL_C);
    await it.until("Press Ctrl-C again");
    it.type(CTRL_C);
    expect(await it.closed).toBe(0);
  });

  test("mistakes are shown in red, and NO_COLOR and dumb terminals have no colors", async () => {
    const it = await chat();
    it.type("/sistem\r");
    expect(await it.until("/system")).toContain("\x1b[31m/sistem: expected a known command");
    it.kill();
    const plain = await chat([], { NO_COLOR: "1" });
    plain.type("/sistem\r");
    await plain.until("nearest");
    expect(plain.output).not.toMatch(COLOR);
    plain.kill();
    const dumb = await chat([], { TERM: "dumb" });
    dumb.type("/help\r");
    await dumb.until("/exit");
    expect(dumb.output).not.toContain("\x1b");
  });
});
