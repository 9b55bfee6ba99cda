// Measures how much longer a text takes to encode if it is sixteen times as long, for adversarial texts and every kind of component.
import { HeddleError, type Tokenizer } from "../../../lib/tokenizer/index.ts";
import { namedPatterns } from "../../../lib/tokenizer/pipeline/patterns.ts";
import { families } from "../generated.ts";
import { generator } from "../generated-text.ts";
import { added, byteLevelJson, fromJson, sentencePieceJson, splitBy } from "../samples.ts";

const letters = (random: () => number, count: number) => {
  let text = "";
  for (let i = 0; i < count; i++) text += "abcdefghij"[Math.floor(random() ** 2 * 10)];
  return text;
};
const random = generator(7);
const tenThousand = letters(random, 10_000);

/** Text parts to repeat. */
export const adversarial: Record<string, string> = {
  "one letter": "a",
  "letters without spaces": tenThousand,
  spaces: " ",
  "spaces and letters": "  a",
  newlines: "\n ",
  digits: "1234567890",
  apostrophes: "'",
  punctuation: "<",
  "carriage returns": "\r",
  marks: "\u0301",
  "combining marks in the wrong order": "\u0301\u0316",
  "letters that NFKC expands": "ﷺ",
  Hangul: "한글은",
  Chinese: "中文字符",
  "joined emoji": "👩\u200d",
  flags: "🇩",
  surrogates: "\ud800",
  "space markers": "▁",
  controls: "\u0000\u0007",
  "added tokens": "<s></s> the foo_bar",
  "prefixes of added tokens": "<s",
};

export function configurations(): Record<string, () => Tokenizer> {
  const bytes = (parts: Record<string, unknown>) => () =>
    fromJson(
      byteLevelJson(
        [
          ["a", "b"],
          ["ab", "a"],
        ],
        parts,
      ),
    );
  const long = `${"a".repeat(1000)}b`;
  const all: Record<string, () => Tokenizer> = {};
  for (const [name, json] of Object.entries(families())) all[name] = () => fromJson(json);
  for (const [name, pattern] of Object.entries(namedPatterns)) {
    all[`pattern ${name}`] = bytes({ pre_tokenizer: splitBy(pattern) });
    all[`pattern ${name} as a regular expression`] = bytes({ pre_tokenizer: splitBy(`(?:${pattern})`) });
  }
  all["SentencePiece's kind"] = () =>
    fromJson(
      sentencePieceJson(
        ["▁", "a", "b", "▁a", "ab", "▁▁"],
        [
          ["▁", "a"],
          ["a", "b"],
          ["▁", "▁"],
        ],
      ),
    );
  all["long added tokens"] = bytes({ added_tokens: [added(258, long), added(259, "a"), added(260, `<${long}`)] });
  all["long added tokens, normalized"] = bytes({
    added_tokens: [
      added(258, long, { normalized: true, lstrip: true, rstrip: true, single_word: true, special: false }),
    ],
    normalizer: { type: "NFC" },
  });
  all["added spaces"] = bytes({
    added_tokens: [added(258, "<", { lstrip: true, rstrip: true }), added(259, "   ", { single_word: true })],
  });
  const chain = Array.from({ length: 300 }, (_, i) => "a".repeat(i + 1));
  all["a Unigram of long tokens"] = () =>
    fromJson({
      ...families()["unigram-whole"]!,
      normalizer: null,
      model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ...chain.map((text, i) => [text, -i])] },
    });
  // A token of the maximum length. The text matches all of it except the last character.
  const vain = `${"a".repeat(1023)}b`;
  all["a Unigram with one long token that never matches"] = () =>
    fromJson({
      ...families()["unigram-whole"]!,
      normalizer: null,
      model: {
        type: "Unigram",
        unk_id: 0,
        vocab: [
          ["<unk>", 0],
          ["a", -1],
          [vain, -2],
        ],
      },
    });
  all["a WordPiece with one long token that never matches"] = () =>
    fromJson({
      ...families().whitespace!,
      model: {
        type: "WordPiece",
        unk_token: "[UNK]",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 4_000_000,
        vocab: { "[UNK]": 0, a: 1, "##a": 2, [vain]: 3, [`##${vain}`]: 4 },
      },
    });
  all["a WordPiece of long tokens"] = () =>
    fromJson({
      ...families().whitespace!,
      model: {
        type: "WordPiece",
        unk_token: "[UNK]",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 4_000_000,
        vocab: Object.fromEntries(
          ["[UNK]", ...chain, ...chain.map((text) => `##${text}`)].map((text, id) => [text, id]),
        ),
      },
    });
  return all;
}

type Encoder = Pick<Tokenizer, "encode">;

/** The minimum duration of a measurement in milliseconds. It is long compared with the clock's resolution. */
const MEASURED = 2;

/**
 * Returns the CPU time of one run in milliseconds: the minimum of up to three measurements of at least MEASURED milliseconds each.
 * Undefined if the tokenizer rejects the text.
 */
function milliseconds(tokenizer: Encoder, text: string): number | undefined {
  let least = Number.POSITIVE_INFINITY;
  for (let measurement = 0; measurement < 3; measurement++) {
    const before = process.cpuUsage();
    let [runs, spent] = [0, 0];
    for (; spent < MEASURED; runs++) {
      try {
        tokenizer.encode(text, { allowSpecial: true });
      } catch (error) {
        if (error instanceof HeddleError && error.code === "INVALID_FILE") return undefined;
        throw error;
      }
      const { user, system } = process.cpuUsage(before);
      spent = (user + system) / 1000;
    }
    least = Math.min(least, spent / runs);
    if (spent > 50 * MEASURED) break; // a long measurement is exact enough
  }
  return least;
}

/**
 * Maximum ratio for O(n log n), which gives about 20. O(n^1.5) gives 64, and O(n²) gives 256. The limit is about twice the expected ratio,
 * because long texts may not fit into the processor's caches.
 */
export const MAX_GROWTH = 45;

/**
 * The ratio of times for a text that is sixteen times as long; undefined if it is rejected. A ratio above MAX_GROWTH is measured again,
 * twice, because other load only adds time.
 */
export function growth(tokenizer: Encoder, part: string, bytes: number): number | undefined {
  const size = Buffer.byteLength(part);
  const [short, long] = [bytes, 16 * bytes].map((wanted) => part.repeat(Math.ceil(wanted / size)));
  let [before, after] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let attempt = 0; attempt < 3 && !(after / before < MAX_GROWTH); attempt++) {
    const [one, other] = [milliseconds(tokenizer, short!), milliseconds(tokenizer, long!)];
    // The first runs of the short text may be interpreted; those after the long text are compiled.
    const compiled = milliseconds(tokenizer, short!);
    if (one === undefined || other === undefined || compiled === undefined) return undefined;
    [before, after] = [Math.min(before, one, compiled), Math.min(after, other)];
  }
  return after / before;
}
