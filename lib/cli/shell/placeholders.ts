// Maps the placeholders of the usage, as in `--file F`, `--dtype auto|f32` and `--model M`, to what a shell can offer for them.

/** Values that a shell can offer. */
export interface Offer {
  /** Values that the usage lists. */
  words: readonly string[];
  /** Whether models of the cache are offered. */
  models: boolean;
  files: "none" | "files" | "folders";
}

type Kind = Omit<Offer, "words">;
const NOTHING: Kind = { models: false, files: "none" };
const FILES: Kind = { models: false, files: "files" };
const MODEL: Kind = { models: true, files: "files" };

/** Kinds of placeholders. A placeholder for free text offers nothing. */
const KINDS: Readonly<Record<string, Kind>> = {
  ...{ F: FILES, FILE: FILES, FILES, OUT: FILES, IN: MODEL, M: MODEL, DIR: { models: false, files: "folders" } },
  MODEL: { models: true, files: "none" },
  ...{ TEXT: NOTHING, NAME: NOTHING, KEY: NOTHING, JSON: NOTHING, REGEX: NOTHING, GLOB: NOTHING, ORIGIN: NOTHING },
  ...{ H: NOTHING, T: NOTHING, BYTES: NOTHING, PROMPT: NOTHING, "OWNER/NAME": NOTHING },
  ...{ "5%": NOTHING, INDEX: NOTHING, "--": NOTHING, WORDS: NOTHING },
};

/**
 * Returns what a shell can offer for a placeholder in the usage. A placeholder such as `NAME=FILE` offers files after the equals sign.
 * @param current the typed part of the value
 * @returns undefined for an unknown placeholder
 */
export function offerOf(placeholder: string, current = ""): Offer | undefined {
  const offer: Offer = { words: [], ...NOTHING };
  for (const part of placeholder.split("|")) {
    const [, name, value] = /^(NAME)=(\w+)$/.exec(part) ?? [];
    const meant = (name === undefined ? part : current.includes("=") ? value! : name).replace(/\[.*$/, "");
    if (/^[a-z][\w.-]*$/.test(meant)) {
      offer.words = [...offer.words, meant];
      continue;
    }
    const kind = Object.hasOwn(KINDS, meant) ? KINDS[meant] : undefined;
    if (!kind) return undefined;
    offer.models ||= kind.models;
    if (kind.files !== "none") offer.files = kind.files;
  }
  return offer;
}

/** Returns the placeholders of positional arguments, such as `IN` and `OUT`. Further arguments have the last placeholder. */
export function positionalsOf(usage: string): string[] {
  return usage
    .replace(/ \(.*\)$/, "")
    .replace(/ ?\.\.\./g, "")
    .replace(/(?<= |^)\[|\](?= |$)/g, "")
    .split(" ");
}
