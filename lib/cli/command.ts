import type { HeddleError } from "../core/errors.ts";
import type { Output } from "./terminal/output.ts";

/** An option of a command: `--name value`, `--name=value`, or `--name` alone for a flag. */
export interface OptionSpec {
  kind: "flag" | "string" | "number" | "integer" | "integers";
  /** Placeholder of the value in the usage, such as the `T` of `--temperature T`. */
  value?: string;
  about: string;
  /** Whether the option may be repeated. Its value is then an array. */
  repeated?: boolean;
  /** Pattern of valid strings. It is checked even if the command does not use the option. Messages describe it by `value`. */
  pattern?: RegExp;
  /** Name of the option in the library's messages, if it differs from the camelCase name. */
  named?: string;
}

/** The options of a command by name. */
export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type ValueOf<S extends OptionSpec> = S["kind"] extends "flag"
  ? boolean
  : S["kind"] extends "string"
    ? string
    : S["kind"] extends "integers"
      ? number[]
      : number;

/** Parsed options by their names as written (`max-tokens`). Options that were not given are undefined. */
export type OptionValues<S extends OptionSpecs> = {
  [K in keyof S]?: S[K] extends { repeated: true } ? ValueOf<S[K]>[] : ValueOf<S[K]>;
};

/** Options that every command takes. */
export const commonOptions = {
  json: { kind: "flag", about: "print JSON to stdout, one object per line, the result last" },
  device: {
    kind: "string",
    value: "auto|cpu|cuda[:N]",
    about: "device to run on",
    pattern: /^(auto|cpu|cuda(:\d+)?)$/,
  },
  threads: { kind: "integer", value: "N", about: "number of CPU worker threads" },
  profile: { kind: "flag", about: "print the time spent in each operation to stderr at the end" },
  model: {
    kind: "string",
    value: "M",
    about:
      "Hugging Face folder, .gguf file, checkpoint folder, OWNER/NAME in the shared cache, ollama:NAME, or default",
  },
} as const satisfies OptionSpecs;

/** The arguments of a running command. */
interface Invocation<S extends OptionSpecs> {
  /** The parsed options. An option of the command replaces a common one of the same name. */
  options: OptionValues<S> & Omit<OptionValues<typeof commonOptions>, keyof S>;
  positionals: string[];
  out: Output;
}

/** A command. Each has a separate file and is listed in command-list.ts. */
export interface Command<S extends OptionSpecs = OptionSpecs> {
  /** One-line description. */
  about: string;
  /** Positional arguments as the usage shows them, such as `IN OUT`, and how many are allowed. */
  positionals?: { usage: string; least: number; most: number };
  options: S;
  /** Common options that the command rejects. Each value completes the message `expected …`, such as "no model". */
  without?: { readonly [K in keyof typeof commonOptions]?: string };
  /**
   * Loads a function that explains unknown options. It returns the error for an option that belongs in the configuration file, otherwise
   * undefined. `near` is the most similar option of this command.
   */
  elsewhere?(): Promise<(name: string, near: string | undefined) => HeddleError | undefined>;
  /** Returns additional text for the end of the command's usage. */
  more?(): Promise<string>;
  run(invocation: Invocation<S>): Promise<void>;
}

/** Defines a command, and keeps the types of its options. */
export function defineCommand<const S extends OptionSpecs>(command: Command<S>): Command<S> {
  return command;
}

/** A group of commands under one word, such as `tokenizer train`. */
export interface CommandGroup {
  about: string;
  commands: CommandTable;
}

/** A command with any options. */
// biome-ignore lint/suspicious/noExplicitAny: a table holds commands of every option type
export type AnyCommand = Command<any>;
/** Commands and groups of commands by name. Their modules are loaded on demand. */
export type CommandTable = Readonly<Record<string, { about: string; load: () => Promise<AnyCommand | CommandGroup> }>>;
