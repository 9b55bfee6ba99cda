// Templates that mark the assistant's text between `{% generation %}` and `{% endgeneration %}`, as transformers' return_assistant_tokens_mask reads them.
import type { Span } from "./assistant-mask.ts";

const BEGIN = /\{%-?\s*generation\s*-?%\}/;
const TAGS = /\{%(-?)\s*(end)?generation\s*(-?)%\}/g;

/** The generated parts of a rendered conversation. */
export interface Generated {
  text: string;
  spans: Span[];
}

/** Whether a template has the tags. */
export function hasGenerationTags(template: string): boolean {
  return BEGIN.test(template);
}

/** Replaces the tags by statements that print marks. Statements and values have different rules for trimming white space. */
export function withGenerationMarks(template: string, begin: string, end: string): string {
  return template.replace(
    TAGS,
    (_, left: string, ends: string | undefined, right: string) =>
      `{%${left} if true %}{{ "${ends ? end : begin}" }}{% endif ${right}%}`,
  );
}

/** The text without the marks, and what they enclose. */
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

/** 1 for each token that has a part in a span. @param offsets two numbers a token, as Tokenizer.encodeWithOffsets gives them */
export function generatedMask(count: number, offsets: Uint32Array, spans: readonly Span[]): Uint8Array {
  const mask = new Uint8Array(count);
  let token = 0;
  for (const [begin, end] of spans) {
    while (token < count && offsets[2 * token + 1]! <= begin) token++;
    for (let at = token; at < count && offsets[2 * at]! < end; at++) mask[at] = 1;
  }
  return mask;
}
