import type { HeddleError } from "../core/errors.ts";
import type { Output } from "./terminal/output.ts";

/** An option of a command: `--name value`, `--name=value`, or `--name` alone for a flag. */
export interface OptionSpec {
  kind: "flag" | "string" | "number" | "integer" | "ids";
  /** Shown in the usage: `--temperature T`. */
  value?: string;
  about: string;
  /** May be given more than once; its value is then an array. */
  repeated?: boolean;
  /** What a string has to look like, whether the command reads it or not; `value` says it in words. */
  pattern?: RegExp;
  /** What messages of the library call it, where that is not its own name in camelCase. */
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

/** Parsed options by name as written (`max-tokens`); undefined where not given. */
export type OptionValues<S extends OptionSpecs> = {
  [K in keyof S]?: S[K] extends { repeated: true } ? ValueOf<S[K]>[] : ValueOf<S[K]>;
};

/** Options that every command takes. */
export const commonOptions = {
  json: { kind: "flag", about: "JSON on stdout, each object on one line, the result last" },
  device: {
    kind: "string",
    value: "auto|cpu|cuda[:N]",
    about: "where to compute",
    pattern: /^(auto|cpu|cuda(:\d+)?)$/,
  },
  threads: { kind: "integer", value: "N", about: "worker threads of the CPU" },
  profile: { kind: "flag", about: "at the end, on stderr: where the time went, operation by operation" },
  model: { kind: "string", value: "M", about: "a Hugging Face folder, a .gguf file, a checkpoint folder, or default" },
} as const satisfies OptionSpecs;

/** What a running command is given. */
export interface Invocation<S extends OptionSpecs> {
  options: OptionValues<S> & OptionValues<typeof commonOptions>;
  positionals: string[];
  out: Output;
}

/** One command; each lies in a file of its own and is listed in commands.ts. */
export interface Command<S extends OptionSpecs = OptionSpecs> {
  /** What it does, in one line. */
  about: string;
  /** Positional arguments as the usage shows them, such as `IN OUT`, and how many are allowed. */
  positionals?: { usage: string; least: number; most: number };
  options: S;
  /** Common options that have no meaning here: what is expected instead of each. */
  without?: { readonly [K in keyof typeof commonOptions]?: string };
  /**
   * What to say of an option that it does not take, where that belongs somewhere else. @param near one of its own that is spelt alike
   */
  elsewhere?(): Promise<(name: string, near: string | undefined) => HeddleError | undefined>;
  /** What its usage says after the options. */
  more?(): Promise<string>;
  run(invocation: Invocation<S>): Promise<void>;
}

/** Keeps the types of a command's options. */
export function defineCommand<const S extends OptionSpecs>(command: Command<S>): Command<S> {
  return command;
}

/** Commands under one word: `tokenizer train`. */
export interface CommandGroup {
  about: string;
  commands: CommandTable;
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds commands of every option type
export type AnyCommand = Command<any>;
export type CommandTable = Readonly<Record<string, { about: string; load: () => Promise<AnyCommand | CommandGroup> }>>;
