// The command line in a terminal: a chat, and Ctrl-C during training. Under Wine it is the console of Windows.
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { asked, makeConsumer, ownAddon } from "./consumer.ts";
import { systems } from "./systems.ts";
import { inTerminal, type Step } from "./terminal.ts";

const names = asked(systems.map(({ target }) => target));
// qemu answers too slowly to type, and Bun has no console of its own.
const tried = systems.filter(({ target, node }) => /^(linux-x64-gnu|win32-x64)$/.test(target) && node !== undefined);
const cli = join("node_modules", "heddle", "dist", "cli", "main.js");
const CTRL_C = "\x03";
const CTRL_D = "\x04";
let consumer: string;

beforeAll(() => {
  consumer = makeConsumer(names);
  writeFileSync(join(consumer, "corpus.txt"), "The river runs to the sea. Eva goes to the sea.\n".repeat(200));
});
afterAll(() => {
  if (consumer) rmSync(consumer, { recursive: true, force: true });
});

describe.each(tried.filter(({ target, name }) => names.includes(target) || name === "this machine"))(
  "$name",
  ({ name, target, node }) => {
    const { command, env } = node!();
    const run = (args: string[], steps: Step[]) =>
      inTerminal(
        [...command, cli, ...args],
        { cwd: consumer, env: { ...env, ...(names.includes(target) ? {} : ownAddon) }, timeout: 300_000 },
        steps,
      );

    test("a chat answers, and ends with Ctrl-D", async () => {
      const { status, output } = await run(
        ["chat", "--max-tokens", "4", "--temperature", "0"],
        [
          { after: />/, type: "The capital of France is\r" },
          { after: / Paris[\s\S]*>/, type: CTRL_D },
        ],
      );
      expect(output).toContain("Ctrl-D leaves");
      expect(status, output).toBe(0);
    });

    test("Ctrl-C during training saves a checkpoint and says how to resume", async () => {
      const outputDir = `trained on ${name} ü`;
      const config = { model: "default", data: "corpus.txt", maxSeqLength: 16, maxSteps: 100_000, outputDir };
      writeFileSync(join(consumer, "train.json"), JSON.stringify(config));
      const { status, output } = await run(
        ["train", "pretrain", "--config", "train.json"],
        [{ after: /loss/, type: CTRL_C }],
      );
      expect(output).toContain("use --resume to continue");
      expect(status, output).toBe(130);
      expect(readdirSync(join(consumer, outputDir))).toEqual(
        expect.arrayContaining([expect.stringMatching(/^checkpoint-\d+$/)]),
      );
    });
  },
);
