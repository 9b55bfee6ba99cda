import type { HeddleError } from "../core/errors.ts";
import type { Output } from "./terminal/output.ts";

/** An option of a command: `--name value`, `--name=value`, or `--name` alone for a flag. */
export interface OptionSpec {
  kind: "flag" | "string" | "number" | "integer" | "ids";
  /** Shown in the usage: `--temperature T`. */
  value?: string;
  about: string;
  /** Whether the option may be repeated. Its value is then an array. */
  repeated?: boolean;
  /** Pattern of a valid string, checked even if the command does not read it. `value` describes it. */
  pattern?: RegExp;
  /** Name in the library's messages, if it is not the camelCase name. */
  named?: string;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type ValueOf<S extends OptionSpec> = S["kind"] extends "flag"
  ? boolean
  : S["kind"] extends "string"
    ? string
    : S["kind"] extends "ids"
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
  model: { kind: "string", value: "M", about: "Hugging Face folder, .gguf file, checkpoint folder, or default" },
} as const satisfies OptionSpecs;

/** The arguments of a running command. */
export interface Invocation<S extends OptionSpecs> {
  options: OptionValues<S> & OptionValues<typeof commonOptions>;
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
  /** Common options that the command does not take, each with what its error expects instead. */
  without?: { readonly [K in keyof typeof commonOptions]?: string };
  /**
   * Returns an error for an option that belongs elsewhere. @param near a similar option of this command
   */
  elsewhere?(): Promise<(name: string, near: string | undefined) => HeddleError | undefined>;
  /** Additional text after the options in its usage. */
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

// biome-ignore lint/suspicious/noExplicitAny: a table holds commands of every option type
export type AnyCommand = Command<any>;
export type CommandTable = Readonly<Record<string, { about: string; load: () => Promise<AnyCommand | CommandGroup> }>>;
