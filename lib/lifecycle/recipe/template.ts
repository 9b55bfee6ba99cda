import type { Random } from "./random.ts";
/**
 * The template language of the story grammar.
 *
 * [a|b|c]   one of the alternatives, which may nest and may be empty
 * {name}    a value of the scene, or a word from a list
 *
 * `expand` also corrects the text across parts: "a apple" becomes "an apple", and sentences begin with a capital
 * letter.
 */

/** Expands a template. @param scene values; for an array, a random element is used */
export function expand(template: string, scene: Record<string, string | readonly string[]>, random: Random): string {
  return tidy(fill(choose(template, random), scene, random));
}

function choose(template: string, random: Random): string {
  let text = template;
  // Expand the innermost brackets first, so that alternatives can nest.
  for (let open = text.lastIndexOf("["); open >= 0; open = text.lastIndexOf("[")) {
    const close = text.indexOf("]", open);
    if (close < 0) throw new Error(`template: "[" without "]" in ${JSON.stringify(template)}`);
    const options = text.slice(open + 1, close).split("|");
    text = text.slice(0, open) + random.pick(options) + text.slice(close + 1);
  }
  return text;
}

function fill(text: string, scene: Record<string, string | readonly string[]>, random: Random): string {
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = scene[name];
    if (value === undefined) throw new Error(`template: no {${name}} in the scene for ${JSON.stringify(text)}`);
    return fill(choose(typeof value === "string" ? value : random.pick(value), random), scene, random);
  });
}

/**
 * Corrects spaces, articles and capital letters at the beginning of sentences. A word after a closing quotation mark
 * is not changed, because it may continue the sentence ("asked Tom"). If it begins a sentence, the template must
 * capitalize it.
 */
export function tidy(text: string): string {
  return (
    text
      .replace(/ {2,}/g, " ")
      .replace(/ +([.,!?;:])/g, "$1")
      // Not before "uniform", "useful", "usual" or "ukulele", which begin with a consonant sound.
      .replace(/\b([Aa]) (?=[aeio]|u(?!ni|se|su|k)|hour|honest)/gi, "$1n ")
      .replace(/(^|[.!?] |\n|(?:^|[,:] )")([a-z])/g, (_, before, letter) => before + letter.toUpperCase())
      .trim()
  );
}

/** Returns a text with its first letter as a capital. */
export function capitalized(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}
