// Supports templates that mark the assistant's text with `{% generation %}` and `{% endgeneration %}`, as transformers'
// return_assistant_tokens_mask does.
import type { Span } from "./assistant-mask.ts";

const BEGIN = /\{%-?\s*generation\s*-?%\}/;
const TAGS = /\{%(-?)\s*(end)?generation\s*(-?)%\}/g;

/** A rendered conversation, and the spans of the generated parts. */
export interface Generated {
  text: string;
  spans: Span[];
}

/** Whether a template has generation tags. */
export function hasGenerationTags(template: string): boolean {
  return BEGIN.test(template);
}

/**
 * Replaces the tags by `if` statements that print marks. Do not use a plain `{{ mark }}`: Jinja trims white space around expressions and
 * around statements differently.
 */
export function withGenerationMarks(template: string, begin: string, end: string): string {
  return template.replace(
    TAGS,
    (_, left: string, ends: string | undefined, right: string) =>
      `{%${left} if true %}{{ "${ends ? end : begin}" }}{% endif ${right}%}`,
  );
}

/** Returns the text without the marks, and the spans that they enclosed. */
export function generatedSpans(marked: string, begin: string, end: string): Generated {
  const spans: Span[] = [];
  let text = "";
  let open: number | undefined;
  for (const part of marked.split(new RegExp(`([${begin}${end}])`))) {
    if (part === begin) open ??= text.length;
    else if (part !== end) text += part;
    else if (open !== undefined) {
      if (text.length > open) spans.push([open, text.length]);
      open = undefined;
    }
  }
  return { text, spans };
}

/**
 * Returns a mask with 1 for each token that overlaps a span. @param offsets two numbers per token, as from Tokenizer.encodeWithOffsets
 */
export function generatedMask(count: number, offsets: Uint32Array, spans: readonly Span[]): Uint8Array {
  const mask = new Uint8Array(count);
  let token = 0;
  for (const [begin, end] of spans) {
    while (token < count && offsets[2 * token + 1]! <= begin) token++;
    for (let at = token; at < count && offsets[2 * at]! < end; at++) mask[at] = 1;
  }
  return mask;
}
