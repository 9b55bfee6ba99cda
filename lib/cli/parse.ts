import { HeddleError, invalidArgument } from "../core/errors.ts";
import { nearest, unknownName } from "../core/nearest-name.ts";
import type { Command, OptionSpec, OptionSpecs } from "./command.ts";

interface Parsed {
  options: Record<string, unknown>;
  positionals: string[];
}

/**
 * Parses a command's arguments. `--` ends the options. The argument after an option is its value, even if it begins with
 * `-`, such as a negative number. Another option of the command is not accepted as a value.
 * @param elsewhere explains options that belong in the configuration file: see `Command.elsewhere`
 * @throws HeddleError INVALID_ARGUMENT. For an unknown option, the message names the nearest known option
 */
export function parseArguments(
  args: readonly string[],
  specs: OptionSpecs,
  elsewhere?: Awaited<ReturnType<NonNullable<Command["elsewhere"]>>>,
): Parsed {
  const options: Record<string, unknown> = {};
  const positionals: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const argument = args[i]!;
    if (argument === "--") {
      positionals.push(...args.slice(i + 1));
      break;
    }
    if (!argument.startsWith("-") || argument === "-") {
      positionals.push(argument);
      continue;
    }
    const name = nameIn(argument);
    const key = name.slice(2);
    const spec = isOption(name, specs) ? specs[key] : undefined;
    if (!spec) throw unknownOption(name, specs, elsewhere);
    let text = name === argument ? undefined : argument.slice(name.length + 1);
    if (spec.kind !== "flag" && text === undefined) {
      text = args[++i];
      if (text === undefined || isOption(nameIn(text), specs))
        throw new HeddleError("INVALID_ARGUMENT", `${name}: expected a value, got ${text ?? "nothing"}`);
    }
    const value = parseValue(name, spec, text);
    const before = options[key] as unknown[] | undefined;
    if (spec.repeated) options[key] = [...(before ?? []), value];
    else if (before !== undefined) throw new HeddleError("INVALID_ARGUMENT", `${name}: expected once, got twice`);
    else options[key] = value;
  }
  return { options, positionals };
}

/** Returns the part of an argument before `=`. */
function nameIn(argument: string): string {
  return argument.split("=", 1)[0]!;
}

function isOption(name: string, specs: OptionSpecs): boolean {
  return name.startsWith("--") && Object.hasOwn(specs, name.slice(2));
}

function unknownOption(name: string, specs: OptionSpecs, elsewhere: Parameters<typeof parseArguments>[2]): HeddleError {
  const names = Object.keys(specs);
  // Compare without the dashes, which make all short names similar.
  const bare = name.replace(/^-+/, "");
  const other = elsewhere?.(bare, nearest(bare, names));
  if (other) return other;
  return unknownName(name, bare, names, "option", "--");
}

function parseValue(name: string, spec: OptionSpec, text: string | undefined): unknown {
  switch (spec.kind) {
    case "flag":
      if (text !== undefined) throw invalidArgument(name, "no value", text);
      return true;
    case "string":
      if (spec.pattern && !spec.pattern.test(text!)) throw invalidArgument(name, spec.value ?? "another", text);
      return text;
    case "number":
    case "integer":
      return numberOf(name, text!, spec.kind === "integer");
    case "integers":
      return integersOf(name, text!);
  }
}

function numberOf(name: string, text: string, integer: boolean): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || (integer && !Number.isSafeInteger(value)))
    throw invalidArgument(name, integer ? "a whole number" : "a number", text);
  return value;
}

function integersOf(name: string, text: string): number[] {
  return text.split(",").map((part) => {
    const digits = part.trim();
    if (!/^\d{1,10}$/.test(digits)) throw invalidArgument(name, "whole numbers such as 1,2,3", text);
    return Number(digits);
  });
}
