import type { AnyCommand, CommandTable, OptionSpecs } from "./command.ts";
import { commonOptions } from "./command.ts";

/** Maximum width of the usage in columns. */
const MOST = 100;
/** Minimum width of the usage in columns. */
const LEAST = 80;

/**
 * Formats rows of two columns, and wraps the right one.
 * @param left width of the left column; default: that of its longest text, at most 34
 */
export function columns(
  rows: readonly (readonly [string, string])[],
  left = Math.min(34, Math.max(...rows.map(([text]) => text.length))),
): string {
  const width = columnsOfTerminal();
  return rows
    .map(([name, about]) => {
      // A name wider than its column shifts its text to the right.
      const [first = "", ...more] = wrapped(about, width - 4 - left, width - 4 - Math.max(left, name.length));
      return [`  ${name.padEnd(left)}  ${first}`.trimEnd(), ...more.map((line) => " ".repeat(left + 4) + line)].join(
        "\n",
      );
    })
    .join("\n");
}

function columnsOfTerminal(): number {
  return Math.max(LEAST, Math.min(MOST, process.stdout.columns ?? MOST));
}

/** Wraps text to `width` characters, the first line to `first`. A longer word gets a separate line. */
function wrapped(text: string, width: number, first = width): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const room = lines.length === 0 ? first : width;
    if (line !== "" && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function optionRows(specs: OptionSpecs): [string, string][] {
  return Object.entries(specs).map(([name, { value, about }]) => [`--${name}${value ? ` ${value}` : ""}`, about]);
}

/** Returns the usage of a table of commands. */
export function tableUsage(name: string, table: CommandTable): string {
  const rows = Object.entries(table).map(([command, { about }]) => [command, about] as const);
  return `Usage: ${name} COMMAND\n\n${columns(rows)}\n\nRun ${name} COMMAND --help for details.`;
}

/** Returns the help text of a command. */
export async function commandUsage(name: string, command: AnyCommand): Promise<string> {
  const positionals = command.positionals ? ` ${command.positionals.usage}` : "";
  const own = optionRows(command.options);
  const common = optionRows(commonOptions).filter(
    ([left]) =>
      ![command.options, command.without ?? {}].some((others) => Object.hasOwn(others, left.slice(2).split(" ")[0]!)),
  );
  const sections = own.length > 0 ? `${columns(own)}\n\n${columns(common)}` : columns(common);
  const more = command.more ? `\n\n${await command.more()}` : "";
  const about = wrapped(command.about, columnsOfTerminal()).join("\n");
  return `${about}\n\nUsage: ${name}${positionals} [options]\n\n${sections}${more}`;
}
