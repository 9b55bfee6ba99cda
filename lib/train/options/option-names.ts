// Names of options, and suggestions for unknown names.
import { HeddleError } from "../../core/errors.ts";
import { expectedName, nearest } from "../../core/nearest-name.ts";
import { infoOf, type Shape } from "./option.ts";

/** Names that a message may suggest, each with its aliases. `lora.r` is the key `r` inside `lora`. */
type KnownNames = ReadonlyMap<string, readonly string[]>;

/** Returns the names of options, and then the names inside options that are objects. */
export function namesIn(shape: Shape): KnownNames {
  const entries = (of: Shape, place: string) =>
    Object.entries(of).map(([name, schema]) => [place + name, infoOf(schema).aliases?.split(" ") ?? []] as const);
  const inner = Object.entries(shape).flatMap(([name, schema]) => entries(infoOf(schema).inner ?? {}, `${name}.`));
  return new Map([...entries(shape, ""), ...inner]);
}

/**
 * Returns the option that an unknown name most likely means; undefined if none is likely. It ignores case and underscores, and also tries
 * names in other libraries, keys inside other options, and near spellings.
 */
export function meantOption(name: string, known: KnownNames): string | undefined {
  // A name of one or two letters is close to any other.
  return sameOption(name, known) ?? (plain(name).length > 2 ? nearest(name, outer(known)) : undefined);
}

/** Like meantOption, without near spellings. */
export function sameOption(name: string, known: KnownNames): string | undefined {
  const bare = plain(name);
  const names = [...known.keys()];
  return (
    outer(known).find((one) => plain(one) === bare) ??
    names.find((one) => known.get(one)!.includes(bare)) ??
    names.find((one) => plain(one.slice(one.indexOf(".") + 1)) === bare)
  );
}

/** The names that are not inside another option. */
const outer = (known: KnownNames) => [...known.keys()].filter((name) => !name.includes("."));

const plain = (name: string) => name.replace(/[^a-zA-Z0-9]/g, "").toLowerCase();

/** The error for an unknown name: `sft.lr: expected a known option (nearest: learningRate), got an unknown one`. */
export function unknownOption(where: string, name: string, known: KnownNames): HeddleError {
  const expected = expectedName(meantOption(name, known), outer(known), "option");
  return new HeddleError("INVALID_ARGUMENT", `${where}.${name}: expected ${expected}, got an unknown one`);
}
