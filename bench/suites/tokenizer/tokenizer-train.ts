// Measures seconds of training a vocabulary on the file that HEDDLE_BENCH_CORPUS names. Compares byte-level BPE of 30,000 tokens, the
// default size, with the official library (npm tokenizers, in the node_modules of HEDDLE_TOKENIZER_ORACLE).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Tokenizer, type TrainAlgorithm } from "../../../lib/tokenizer/index.ts";
import { median, report } from "../../measure.ts";

const VOCAB_SIZE = 30_000;

export async function benchTokenizerTrain(
  _: unknown,
  { rounds, peers, only }: { rounds: number; peers: boolean; only: string },
): Promise<void> {
  const path = process.env.HEDDLE_BENCH_CORPUS;
  if (path === undefined) throw new Error("bench tokenizerTrain: HEDDLE_BENCH_CORPUS is not set: it names a text file");
  const parts: string[] = [];
  const text = readFileSync(path, "utf8");
  for (let at = 0; at < text.length; ) {
    const end = at + 2 ** 20 >= text.length ? text.length : text.lastIndexOf("\n", at + 2 ** 20) + 1 || text.length;
    parts.push(text.slice(at, end));
    at = end;
  }
  const cases: [string, () => Promise<number>][] = [];
  for (const algorithm of ["byteLevelBpe", "sentencePieceBpe", "wordPiece", "unigram"] satisfies TrainAlgorithm[])
    for (const threads of [1, 2])
      cases.push([
        `tokenizer train ${algorithm}, ${threads} threads`,
        async () => (await Tokenizer.train(parts, { vocabSize: VOCAB_SIZE, algorithm, threads })).vocabSize,
      ]);
  const oracle = process.env.HEDDLE_TOKENIZER_ORACLE;
  if (peers && oracle !== undefined)
    cases.push(["tokenizer train byteLevelBpe, official library", official(oracle, path)]);
  for (const [name, train] of cases) {
    if (!name.includes(only)) continue;
    const seconds: number[] = [];
    let vocabSize = 0;
    for (let round = 0; round < rounds; round++) {
      const start = performance.now();
      vocabSize = await train();
      seconds.push((performance.now() - start) / 1000);
    }
    report({ name, unit: "s", median: median(seconds), bytes: Buffer.byteLength(text), vocabSize });
  }
}

function official(folder: string, path: string): () => Promise<number> {
  const { Tokenizer: Library } = createRequire(`${folder}/`)("tokenizers") as {
    Tokenizer: { fromString(json: string): { train(files: string[]): void; getVocabSize(): number } };
  };
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const json = JSON.stringify({
    ...{ version: "1.0", added_tokens: [], normalizer: null, pre_tokenizer: byteLevel, post_processor: null },
    ...{ decoder: byteLevel, model: { type: "BPE", vocab: {}, merges: [] } },
  });
  return async () => {
    const tokenizer = Library.fromString(json);
    tokenizer.train([path]);
    return tokenizer.getVocabSize();
  };
}
