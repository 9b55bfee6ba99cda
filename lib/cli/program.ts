// The command line: finds the command, runs it, and turns every failure into one line on stderr and an exit code.
import { readFileSync } from "node:fs";
import { HeddleError, reasonOf } from "../core/errors.ts";
import { expectedName, nearest } from "../core/nearest-name.ts";
import { ioError } from "../io/atomic-files.ts";
import type { AnyCommand, CommandGroup, CommandTable, OptionSpecs, OptionValues } from "./command.ts";
import { commonOptions } from "./command.ts";
import { commands } from "./command-list.ts";
import { EXIT_CODES, exitCodeOf } from "./exit-code.ts";
import { parseArguments } from "./parse.ts";
import { stopForOutput } from "./terminal/interrupt.ts";
import { consoleToStderr, Output, oneLine } from "./terminal/output.ts";
import { columns, commandUsage, tableUsage } from "./usage.ts";

async function main(args: string[]): Promise<void> {
  let table: CommandTable = commands;
  let name = "heddle";
  for (;;) {
    const [word, ...rest] = args;
    if (word === "--version" || word === "-v") return void process.stdout.write(`${version()}\n`);
    if (word === undefined && table !== commands)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${short(name)}: expected one of ${Object.keys(table).join(", ")}, got none`,
      );
    if (word === undefined || word === "--help" || word === "-h" || word === "help") {
      const exits = table === commands ? `\n\nExit codes:\n${columns(EXIT_CODES)}` : "";
      return void process.stdout.write(`${tableUsage(name, table)}${exits}\n`);
    }
    const entry = Object.hasOwn(table, word) ? table[word] : undefined;
    if (!entry) throw unknownCommand(name, word, table);
    const found = await entry.load();
    name = `${name} ${word}`;
    args = rest;
    if (!isGroup(found)) return run(name, found, rest);
    table = found.commands;
  }
}

function isGroup(found: AnyCommand | CommandGroup): found is CommandGroup {
  return "commands" in found;
}

async function run(name: string, command: AnyCommand, args: readonly string[]): Promise<void> {
  const end = args.indexOf("--");
  const flags = end < 0 ? args : args.slice(0, end);
  if (flags.includes("--help") || flags.includes("-h"))
    return void process.stdout.write(`${await commandUsage(name, command)}\n`);
  const specs: OptionSpecs = { ...commonOptions, ...command.options };
  const without = Object.entries(command.without ?? {});
  let given: Record<string, unknown> | undefined;
  try {
    const { options, positionals } = parseArguments(args, specs, await command.elsewhere?.());
    given = options;
    for (const [option, expected] of without)
      if (options[option] !== undefined)
        throw new HeddleError("INVALID_ARGUMENT", `--${option}: expected ${expected}, got --${option}`);
    const { least, most, usage } = command.positionals ?? { least: 0, most: 0, usage: "no arguments" };
    if (positionals.length < least || positionals.length > most)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `arguments: expected ${usage}, got ${positionals.length === 0 ? "none" : positionals.map((p) => JSON.stringify(p)).join(" ")}`,
      );
    const out = new Output(options.json === true);
    if (out.json) consoleToStderr();
    const work = () => command.run({ options: options as OptionValues<OptionSpecs>, positionals, out });
    await (options.profile === true ? profiled(work, out) : work());
    out.endLine();
  } catch (error) {
    throw error instanceof HeddleError
      ? new HeddleError(error.code, inFlags(error.message, flagsOf(specs, without, given)), { cause: error })
      : error;
  }
}

async function profiled(work: () => Promise<void>, out: Output): Promise<void> {
  const { formatProfile, profile } = await import("../graph/index.ts");
  const { profile: found } = await profile(work);
  out.endLine();
  // Some terminals report a width of 0.
  out.log(formatProfile(found, { width: process.stderr.columns || 160 }));
}

/**
 * Maps names in the library's messages to options. Excludes options that the command does not take and, with a configuration file, options
 * that were not given.
 */
function flagsOf(
  specs: OptionSpecs,
  without: readonly (readonly [string, unknown])[],
  given: Readonly<Record<string, unknown>> | undefined,
): ReadonlyMap<string, string> {
  const camel = (key: string) => key.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const isMeant = (key: string) => given?.config === undefined || given[key] !== undefined;
  const taken = Object.entries(specs).filter(([key]) => isMeant(key) && !without.some(([other]) => other === key));
  return new Map(taken.map(([key, { named = camel(key) }]) => [named, `--${key}`]));
}

/**
 * Renames an option in a message to its flag: `maxTokens: expected …` becomes `--max-tokens: expected …`. Hints such as
 * `(truncation: true …)` are converted too.
 */
function inFlags(message: string, flags: ReadonlyMap<string, string>): string {
  return message
    .replace(/^([a-z][A-Za-z]*)(?=:)/, (word) => flags.get(word) ?? word)
    .replace(/(?<= \()([a-z][A-Za-z]*): true(?= )/, (advice, word) => flags.get(word) ?? advice);
}

function unknownCommand(name: string, word: string, table: CommandTable): HeddleError {
  const names = Object.keys(table);
  const expected = expectedName(nearest(word, names), names, "command");
  return new HeddleError("INVALID_ARGUMENT", `${short(name)}: expected ${expected}, got ${JSON.stringify(word)}`);
}

/** Removes the program's name, because every error line already begins with it. */
function short(name: string): string {
  return name.replace(/^heddle /, "");
}

function version(): string {
  return JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version;
}

function fail(error: unknown): void {
  if ((error as NodeJS.ErrnoException | undefined)?.code === "EPIPE") return; // the reader has closed the pipe
  const message = reasonOf(error);
  process.stderr.write(`heddle: ${oneLine(message.replace(/^heddle: /, ""))}\n`);
  if (process.env.HEDDLE_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exitCode = exitCodeOf(error);
}

// Ignore a closed stderr: notes and progress are then lost, but the work continues.
process.stderr.on("error", () => {});
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (stopForOutput(error)) return;
  if (error.code === "EPIPE") process.exit(0);
  // Exit at once, because no further output can be written.
  fail(ioError(error, "standard output", "written"));
  process.exit();
});
await main(process.argv.slice(2)).catch(fail);
