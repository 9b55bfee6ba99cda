// Reads post-processors, which add special tokens before and after the ids of a text.
import { isObject } from "../../core/is-object.ts";
import type { JsonObject, JsonValue } from "../../io/json.ts";
import { flatten, invalidFile, isFileTokenId, type TokenizerFile, unsupported } from "../files/tokenizer-file.ts";

/** Special ids before and after a text. */
interface AddedAround {
  beginIds: Uint32Array;
  endIds: Uint32Array;
}

/** Reads a post-processor's ids for a single text. */
export function readPostProcessor(file: Pick<TokenizerFile, "postProcessor">): AddedAround {
  let begin: number[] = [];
  let end: number[] = [];
  for (const part of flatten(file.postProcessor, "processors", "post_processor")) {
    if (part.type === "ByteLevel") continue; // affects offsets only: see trim-offsets.ts
    const around = part.type === "TemplateProcessing" ? readTemplate(part) : readPair(part);
    begin = [...around.begin, ...begin];
    end = [...end, ...around.end];
  }
  return { beginIds: Uint32Array.from(begin), endIds: Uint32Array.from(end) };
}

/** A part of a template: one of the texts, or special ids. */
export type PairPart = { text: 0 | 1; typeId: number } | { ids: number[]; typeId: number };

/** Returns the template for two texts: that of TemplateProcessing, BertProcessing or RobertaProcessing, else one text after the other. */
export function readPairForm(file: TokenizerFile): PairPart[] {
  for (const part of flatten(file.postProcessor, "processors", "post_processor")) {
    if (part.type === "ByteLevel") continue;
    if (part.type === "TemplateProcessing") return readTemplateForm(part, "pair");
    const { begin, end } = readPair(part);
    const roberta = part.type === "RobertaProcessing";
    const second = roberta ? 0 : 1;
    return [
      { ids: begin, typeId: 0 },
      { text: 0, typeId: 0 },
      { ids: roberta ? [...end, ...end] : end, typeId: 0 },
      { text: 1, typeId: second },
      { ids: end, typeId: second },
    ];
  }
  return [
    { text: 0, typeId: 0 },
    { text: 1, typeId: 1 },
  ];
}

/** Returns the template for one text: the ids of readPostProcessor, with type ids if a TemplateProcessing specifies them. */
export function readSingleForm(file: TokenizerFile): PairPart[] {
  const parts = flatten(file.postProcessor, "processors", "post_processor").filter((part) => part.type !== "ByteLevel");
  if (parts.length === 1 && parts[0]!.type === "TemplateProcessing") return readTemplateForm(parts[0]!, "single");
  const { beginIds, endIds } = readPostProcessor(file);
  return [
    { ids: [...beginIds], typeId: 0 },
    { text: 0, typeId: 0 },
    { ids: [...endIds], typeId: 0 },
  ];
}

function readTemplateForm(part: JsonObject, name: "single" | "pair"): PairPart[] {
  const where = `post_processor.${name}`;
  const pieces = part[name];
  if (!Array.isArray(pieces)) throw invalidFile(where, "an array", pieces);
  if (pieces.length > 64) throw invalidFile(where, "at most 64 parts", pieces.length);
  return pieces.map((piece, index): PairPart => {
    const inner = isObject(piece) ? (piece.Sequence ?? piece.SpecialToken) : undefined;
    if (!isObject(inner)) throw invalidFile(`${where}[${index}]`, "a Sequence or a SpecialToken", piece);
    const typeId = inner.type_id ?? 0;
    if (!isFileTokenId(typeId)) throw invalidFile(`${where}[${index}].type_id`, "a whole number", typeId);
    return isObject((piece as JsonObject).Sequence)
      ? { text: name === "pair" && inner.id === "B" ? 1 : 0, typeId }
      : { ids: specialIds(part, inner.id), typeId };
  });
}

function specialIds(part: JsonObject, name: JsonValue | undefined): number[] {
  const specials = isObject(part.special_tokens) ? part.special_tokens : {};
  const special = typeof name === "string" && Object.hasOwn(specials, name) ? specials[name] : undefined;
  const ids = isObject(special) ? special.ids : undefined;
  if (!Array.isArray(ids) || ids.length > 64 || !ids.every((id: JsonValue) => isFileTokenId(id))) {
    throw invalidFile(`post_processor.special_tokens[${JSON.stringify(name)}].ids`, "ids", ids);
  }
  return ids as number[];
}

function readTemplate(part: JsonObject): { begin: number[]; end: number[] } {
  const where = "post_processor.single";
  if (!Array.isArray(part.single)) throw invalidFile(where, "an array", part.single);
  if (part.single.length > 64) throw invalidFile(where, "at most 64 parts", part.single.length);
  const begin: number[] = [];
  const end: number[] = [];
  let seen = false;
  for (const [index, piece] of part.single.entries()) {
    if (!isObject(piece)) throw invalidFile(`${where}[${index}]`, "an object", piece);
    if (isObject(piece.Sequence)) {
      if (seen) throw invalidFile(where, "one Sequence", 2);
      seen = true;
      continue;
    }
    const ids = specialIds(part, isObject(piece.SpecialToken) ? piece.SpecialToken.id : undefined);
    (seen ? end : begin).push(...ids);
  }
  if (!seen) throw invalidFile(where, "one Sequence", 0);
  return { begin, end };
}

/** Reads BertProcessing or RobertaProcessing, which have `cls` before and `sep` after a text, each as [text, id]. */
function readPair(part: JsonObject): { begin: number[]; end: number[] } {
  if (part.type !== "BertProcessing" && part.type !== "RobertaProcessing") {
    if (typeof part.type !== "string") throw invalidFile("post_processor.type", "a string", part.type);
    throw unsupported("post_processor", JSON.stringify(part.type));
  }
  const [cls, sep] = [part.cls, part.sep].map((pair) => (Array.isArray(pair) ? pair[1] : undefined));
  if (!isFileTokenId(cls)) throw invalidFile("post_processor.cls", "a pair of text and id", part.cls);
  if (!isFileTokenId(sep)) throw invalidFile("post_processor.sep", "a pair of text and id", part.sep);
  return { begin: [cls], end: [sep] };
}
