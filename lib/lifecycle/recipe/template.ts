import type { Random } from "./random.ts";
/**
 * The little template language of the story grammar.
 *
 *   [a|b|c]   one of the alternatives, which may nest; an empty alternative says nothing
 *   {name}    a value of the scene, or one of a word list
 *
 * `expand` also repairs what the pieces cannot know: "a apple" becomes "an apple", sentences get their capital letter.
 */

/** @param scene values; one element of an array is chosen at random */
export function expand(template: string, scene: Record<string, string | readonly string[]>, random: Random): string {
  return tidy(fill(choose(template, random), scene, random));
}

function choose(template: string, random: Random): string {
  let text = template;
  // Innermost brackets first, so that alternatives nest.
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
 * Repairs spaces, articles and the capital letter of sentences. The word after a closing quotation is left alone, for it may
 * go on with "asked Tom" as well as begin a sentence: templates write its capital themselves.
 */
export function tidy(text: string): string {
  return text
    .replace(/ {2,}/g, " ")
    .replace(/ +([.,!?;:])/g, "$1")
    .replace(/\b([Aa]) (?=[aeio]|u(?!ni|se|su|k)|hour|honest)/gi, "$1n ")
    .replace(/(^|[.!?] |\n|(?:^|[,:] )")([a-z])/g, (_, before, letter) => before + letter.toUpperCase())
    .trim();
}

/** The text with a capital letter first. */
export function capitalized(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}
