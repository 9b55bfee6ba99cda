import type { AnyCommand, CommandTable, OptionSpecs } from "./command.ts";
import { commonOptions } from "./command.ts";

/** Rows of two columns. */
export function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.min(34, Math.max(...rows.map(([left]) => left.length)));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd()).join("\n");
}

function optionRows(specs: OptionSpecs): [string, string][] {
  return Object.entries(specs).map(([name, { value, about }]) => [`--${name}${value ? ` ${value}` : ""}`, about]);
}

/** Usage of a table of commands. */
export function tableUsage(name: string, table: CommandTable): string {
  const rows = Object.entries(table).map(([command, { about }]) => [command, about] as const);
  return `Usage: ${name} COMMAND\n\n${columns(rows)}\n\n${name} COMMAND --help tells more.`;
}

export async function commandUsage(name: string, command: AnyCommand): Promise<string> {
  const positionals = command.positionals ? ` ${command.positionals.usage}` : "";
  const own = optionRows(command.options);
  const common = optionRows(commonOptions).filter(
    ([left]) =>
      !own.some(([other]) => other === left) && !Object.hasOwn(command.without ?? {}, left.slice(2).split(" ")[0]!),
  );
  const sections = own.length > 0 ? `${columns(own)}\n\n${columns(common)}` : columns(common);
  const more = command.more ? `\n\n${await command.more()}` : "";
  return `${command.about}\n\nUsage: ${name}${positionals} [options]\n\n${sections}${more}`;
}
