import type { z } from "zod";

/** Options by name. A doc comment on an entry is the documentation of the option, also in the published types. */
export type Shape = Readonly<Record<string, z.ZodType>>;

/** Facts about an option that its schema does not have. */
interface OptionInfo {
  /** One line of `heddle train STAGE --help`. */
  help: string;
  /** The default as the help shows it. Needed if the schema has no default. */
  otherwise?: string | undefined;
  /**
   * Names of the option in other libraries, and likely misspellings, separated by spaces, in lower case without
   * underscores.
   */
  aliases?: string | undefined;
  /** The options inside, if the option is an object or an array of objects. */
  inner?: Shape | undefined;
  /**
   * Whether checkpoints record the option, so that a resumed run must have the same value. Default true. Set it to
   * false if the option may change, or if another check compares it.
   */
  recorded?: boolean | undefined;
}

const infos = new WeakMap<z.core.$ZodType, OptionInfo>();

/** Defines an option. Each option needs its own schema object, because that object is the key of the stored facts. */
export function option<S extends z.ZodType>(schema: S, help: string, more: Omit<OptionInfo, "help"> = {}): S {
  infos.set(schema, { help, ...more });
  return schema;
}

/**
 * Defines a stage's variant of the option `base`. Facts that are not in `changed`, such as aliases, are those of `base`.
 */
export function variant<S extends z.ZodType>(base: z.ZodType, schema: S, changed: Partial<OptionInfo> = {}): S {
  infos.set(schema, { ...infoOf(base), ...changed });
  return schema;
}

/** Returns the facts about an option. The help is empty for a schema that `option` and `variant` did not define. */
export function infoOf(schema: z.core.$ZodType): OptionInfo {
  return infos.get(schema) ?? { help: "" };
}

type WithDefault<S extends Shape> = { [K in keyof S]: undefined extends z.input<S[K]> ? K : never }[keyof S];
type Optional<S extends Shape> = { -readonly [K in keyof S]?: z.input<S[K]> };
type Required<S extends Shape> = { -readonly [K in keyof S]: z.input<S[K]> };

/** The type of options as callers give them. Its members keep the doc comments of the shape. */
export type Given<S extends Shape> = Optional<Pick<S, WithDefault<S>>> & Required<Omit<S, WithDefault<S>>>;
