// Reads SentencePiece's BPE and Unigram models (tokenizer.model) with their normalization, as equivalent tokenizer.json files.
import { binding } from "../../binding/index.ts";
import type { NativeJsonVocabulary } from "../../binding/tokenizer.ts";
import { describe, HeddleError } from "../../core/errors.ts";
import type { JsonObject } from "../../io/json.ts";
import { stringList } from "../pipeline/pipeline.ts";
import { templateAround } from "../pipeline/template-processor.ts";
import type { TokenizerConfig } from "./config.ts";
import { readFields } from "./protobuf.ts";
import {
  invalidFile,
  isAdded,
  isSpecial,
  limits,
  type TokenizerFile,
  TokenType,
  unsupported,
} from "./tokenizer-file.ts";
import { readTokenizerFile } from "./tokenizer-json.ts";

interface Proto {
  tokens: string[];
  scores: number[];
  types: number[];
  modelType: number;
  byteFallback: boolean;
  unknown: number;
  charsmap: Uint8Array;
  dummyPrefix: boolean;
  removesSpaces: boolean;
  spaceAfter: boolean;
}

const where = "tokenizer.model";
const modelTypes = ["", "unigram", "bpe", "word", "char"];
const mark = "▁";

/** Reads those fields of sentencepiece_model.proto that determine the ids of a text. */
function readProto(bytes: Uint8Array): Proto {
  const proto: Proto = {
    tokens: [],
    scores: [],
    types: [],
    modelType: 1,
    byteFallback: false,
    unknown: 0,
    charsmap: new Uint8Array(0),
    dummyPrefix: true,
    removesSpaces: true,
    spaceAfter: false,
  };
  // A model's first byte is the tag of one of its five fields, which are all messages.
  if (bytes.length > 0 && ![0x0a, 0x12, 0x1a, 0x22, 0x2a].includes(bytes[0]!))
    throw new HeddleError("INVALID_FILE", `${where}: not a SentencePiece model: the first field is unknown`);
  const message = (value: number | Uint8Array) => {
    if (typeof value === "number") throw invalidFile(where, "a message", value);
    return readFields(value, `${where}: a message`);
  };
  for (const field of readFields(bytes, where)) {
    // ModelProto has `pieces` (1), `trainer_spec` (2) and `normalizer_spec` (3).
    if (field.number === 1) readPiece(message(field.value), proto);
    if (field.number === 2) {
      for (const { number, value } of message(field.value)) {
        if (number === 3) proto.modelType = Number(value); // model_type
        if (number === 24) proto.spaceAfter = value === 1; // treat_whitespace_as_suffix
        if (number === 35) proto.byteFallback = value === 1; // byte_fallback
        if (number === 40) proto.unknown = Number(value); // unk_id
      }
    }
    if (field.number === 3) {
      for (const { number, value } of message(field.value)) {
        if (number === 2 && typeof value !== "number") proto.charsmap = value; // precompiled_charsmap
        if (number === 3) proto.dummyPrefix = value === 1; // add_dummy_prefix
        if (number === 4) proto.removesSpaces = value === 1; // remove_extra_whitespaces
      }
    }
  }
  return proto;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function readPiece(fields: Iterable<{ number: number; value: number | Uint8Array }>, proto: Proto): void {
  let [token, score, type] = ["", 0, TokenType.normal as number];
  for (const { number, value } of fields) {
    if (number === 1 && typeof value !== "number") {
      try {
        token = utf8.decode(value);
      } catch (cause) {
        throw new HeddleError("INVALID_FILE", `${where}: piece ${proto.tokens.length}: expected UTF-8`, { cause });
      }
    }
    if (number === 2 && typeof value === "number") score = value;
    if (number === 3 && typeof value === "number") type = value;
  }
  if (!Number.isFinite(score)) throw invalidFile(`${where}: score of ${describe(token)}`, "a number", score);
  if (proto.tokens.length >= limits.tokens)
    throw invalidFile(where, `at most ${limits.tokens} pieces`, limits.tokens + 1);
  if (token.length > limits.tokenLength)
    throw invalidFile(where, `pieces of at most ${limits.tokenLength}`, token.length);
  proto.tokens.push(token);
  proto.scores.push(score);
  proto.types.push(type);
}

/** The normalization settings of a model. */
type Normalization = Pick<Proto, "charsmap" | "removesSpaces" | "dummyPrefix">;

/** Returns the normalizers that run before spaces become ▁: character mapping, and removal of extra spaces. */
function normalizers(proto: Omit<Normalization, "dummyPrefix">): JsonObject[] {
  const steps: JsonObject[] = [];
  if (proto.charsmap.length > 0) {
    const precompiled_charsmap = Buffer.from(proto.charsmap).toString("base64");
    // Within a grapheme cluster, Hugging Face's library maps the shortest match of the table, and SentencePiece the longest. `longest` is
    // heddle's own field, which other readers ignore.
    steps.push({ type: "Precompiled", precompiled_charsmap, longest: true });
  }
  if (proto.removesSpaces) {
    steps.push({ type: "Replace", pattern: { Regex: "\\A +| +\\z" }, content: "" });
    steps.push({ type: "Replace", pattern: { Regex: " {2,}" }, content: " " });
  }
  return steps;
}

const leadingSpaces: JsonObject = { type: "Replace", pattern: { Regex: "\\A +" }, content: "" };

const sequence = (list: string, parts: JsonObject[]): JsonObject | null =>
  parts.length > 1 ? { type: "Sequence", [list]: parts } : (parts[0] ?? null);

/** Returns the template with the BOS and EOS that tokenizer_config.json asks for. Default: BOS for BPE, EOS for Unigram. */
function template(proto: Proto, config: TokenizerConfig): JsonObject | null {
  const bpe = proto.modelType === 2;
  const names: [boolean, string | undefined][] = [
    [config.addBosToken ?? bpe, config.bosToken ?? "<s>"],
    [config.addEosToken ?? !bpe, config.eosToken ?? "</s>"],
  ];
  const [before, after] = names.map(([adds, name]) =>
    adds && proto.tokens.includes(name!) ? [{ name: name!, id: proto.tokens.indexOf(name!) }] : [],
  );
  return before!.length + after!.length > 0 ? templateAround(before!, after!) : null;
}

function listed(pieces: Pick<Proto, "tokens" | "types" | "scores">, mergesByScore = false): NativeJsonVocabulary {
  const { tokens, types, scores } = pieces;
  return binding.makeListedVocabulary({
    tokens: stringList(tokens),
    types: Uint8Array.from(types),
    scores: Float64Array.from(scores),
    mergesByScore,
    where,
  });
}

/** A Unigram model and its settings. */
interface UnigramPieces extends Normalization {
  /** The vocabulary, with scores. */
  native: NativeJsonVocabulary;
  types: Uint8Array;
  byteFallback: boolean;
  /** Id of the unknown token; negative for a vocabulary without one. */
  unknown: number;
  added: JsonObject[];
  /** The post-processor, which adds tokens around texts. */
  around: JsonObject | null;
}

/** Returns a tokenizer that computes a Unigram model as SentencePiece does. */
export function unigramFile(pieces: UnigramPieces): TokenizerFile {
  const { native, types, byteFallback, unknown } = pieces;
  const steps = normalizers(pieces);
  // The prefix is added even to a text that begins with ▁, which Metaspace would not do.
  if (pieces.dummyPrefix) steps.push({ type: "Prepend", prepend: mark });
  // Do not split into words. SentencePiece sums scores over the whole text, so rounding of earlier sums decides between segmentations
  // with equal scores.
  const metaspace = { type: "Metaspace", replacement: mark, prepend_scheme: "never", split: false };
  const decoders: JsonObject[] = [{ ...metaspace, prepend_scheme: pieces.dummyPrefix ? "always" : "never" }];
  if (byteFallback) decoders.push({ type: "ByteFallback" });
  if (pieces.removesSpaces) decoders.push({ type: "Fuse" }, leadingSpaces);
  const file = readTokenizerFile(
    {
      added_tokens: pieces.added,
      post_processor: pieces.around,
      normalizer: sequence("normalizers", steps),
      pre_tokenizer: metaspace,
      decoder: sequence("decoders", decoders),
      model: { type: "Unigram", vocab: [], unk_id: unknown < 0 ? null : unknown, byte_fallback: byteFallback },
    },
    native,
    { hasIds: true },
  );
  const { normal, userDefined } = TokenType;
  const hidden = new Uint32Array(types.length);
  let count = 0;
  for (let id = 0; id < types.length; id++) {
    const type = types[id];
    if (type !== normal && type !== userDefined) hidden[count++] = id;
  }
  file.model.hidden = hidden.slice(0, count);
  return file;
}

/**
 * The ids of fairseq, with which the models of these classes were trained. In fairseq's vocabulary, the tokens `before` replace the pieces
 * before index `from` of the SentencePiece model.
 */
const FAIRSEQ = {
  XLMRoberta: { before: ["<s>", "<pad>", "</s>", "<unk>"], from: 3 },
  Camembert: { before: ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"], from: 1 },
} as const;
type Fairseq = (typeof FAIRSEQ)[keyof typeof FAIRSEQ];

/**
 * Returns the fairseq ids of the class in tokenizer_config.json; undefined for other classes. The model file does not say which ids apply.
 */
export function fairseqKind({ tokenizerClass = "" }: TokenizerConfig): Fairseq | undefined {
  const name = /^(XLMRoberta|Camembert)Tokenizer(Fast)?$/u.exec(tokenizerClass)?.[1];
  return name === undefined ? undefined : FAIRSEQ[name as keyof typeof FAIRSEQ];
}

/** Reads a Unigram model with fairseq's ids. `<mask>` is the last id, and the template is `<s> A </s>` or `<s> A </s> </s> B </s>`. */
function fairseqFile(proto: Proto, { before, from }: Fairseq): TokenizerFile {
  if (proto.modelType !== 1) throw unsupported(where, "fairseq's ids for a model other than Unigram");
  if (proto.spaceAfter) throw unsupported(where, "treat_whitespace_as_suffix");
  const unknown = before.indexOf("<unk>" as never);
  const special = (name: string, i: number) =>
    i === unknown ? TokenType.unknown : name === "<unk>NOTUSED" ? TokenType.unused : TokenType.control;
  const tokens = [...before, ...proto.tokens.slice(from), "<mask>"];
  const types = [...before.map(special), ...proto.types.slice(from), TokenType.control];
  const scores = [...before.map(() => 0), ...proto.scores.slice(from), 0];
  const idOf = (name: string) => {
    const id = tokens.indexOf(name);
    if (id < 0) throw invalidFile(where, `a piece ${name}`, undefined);
    return id;
  };
  const [bos, eos] = [idOf("<s>"), idOf("</s>")];
  types[bos] = types[eos] = TokenType.control;
  const added = [...tokens.keys()]
    .filter((id) => isAdded(types[id]) && tokens[id] !== "")
    .map((id) => ({
      id,
      content: tokens[id]!,
      special: types[id] !== TokenType.userDefined,
      normalized: false,
      ...(tokens[id] === "<mask>" && { lstrip: true }),
    }));
  const [begin, end] = [
    { name: "<s>", id: bos },
    { name: "</s>", id: eos },
  ];
  const around = templateAround([begin], [end], { between: [end], type: 0 });
  const native = listed({ tokens, types, scores });
  const file = unigramFile({ ...proto, native, types: Uint8Array.from(types), unknown, added, around });
  file.model.singlePrecision = true;
  return file;
}

/**
 * Reads the bytes of a tokenizer.model (or spiece.model).
 * @throws HeddleError INVALID_FILE, UNSUPPORTED for word and character models and for treat_whitespace_as_suffix
 */
export function readSentencePiece(bytes: Uint8Array, config: TokenizerConfig): TokenizerFile {
  const proto = readProto(bytes);
  const fairseq = fairseqKind(config);
  if (fairseq) return fairseqFile(proto, fairseq);
  const { tokens, types, byteFallback } = proto;
  if (tokens.length === 0) throw invalidFile(where, "at least one piece", 0);
  if (proto.modelType !== 1 && proto.modelType !== 2) {
    throw unsupported(where, `a model of type ${describe(modelTypes[proto.modelType] ?? proto.modelType)}`);
  }
  if (proto.spaceAfter) throw unsupported(where, "treat_whitespace_as_suffix");
  const added_tokens = [...tokens.keys()]
    .filter((id) => isAdded(types[id]) && tokens[id] !== "")
    .map((id) => ({ id, content: tokens[id]!, special: isSpecial(types[id]), normalized: false }));
  const unknown = types[proto.unknown] === TokenType.unknown ? proto.unknown : types.indexOf(TokenType.unknown);
  const steps = normalizers(proto);
  const common = { added_tokens, post_processor: template(proto, config) };

  if (proto.modelType === 1) {
    const file = unigramFile({
      ...proto,
      native: listed(proto),
      types: Uint8Array.from(types),
      unknown,
      added: added_tokens,
      around: common.post_processor,
    });
    file.model.singlePrecision = true;
    return file;
  }

  if (proto.dummyPrefix) steps.push({ type: "Prepend", prepend: mark });
  steps.push({ type: "Replace", pattern: { String: " " }, content: mark });
  const decoders: JsonObject[] = [
    { type: "Replace", pattern: { String: mark }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
  ];
  if (proto.removesSpaces) decoders.push(leadingSpaces);
  else if (proto.dummyPrefix) decoders.push({ type: "Strip", content: " ", start: 1, stop: 0 });
  const file = readTokenizerFile(
    {
      ...common,
      normalizer: sequence("normalizers", steps),
      pre_tokenizer: null,
      decoder: sequence("decoders", decoders),
      model: { type: "BPE", vocab: {}, merges: [], byte_fallback: byteFallback, fuse_unk: true },
    },
    listed(proto, true),
    { hasIds: true },
  );
  if (unknown >= 0) Object.assign(file.model, { unknownToken: tokens[unknown], unknownId: unknown });
  return file;
}
