// Encoders with random weights in folders, with a vocabulary of WordPiece that was trained here.
import { join } from "node:path";
import { createModel } from "../../lib/generate/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { sentences } from "../generate/helpers.ts";
import { generator } from "../ops/harness.ts";

/** What WordPiece and its normalizer treat each their own way. */
export const texts = [
  "The cat saw the sea and ran home.",
  "naïve café, Ångström ÉCOLE façade",
  "e\u0301 cafe\u0301 (two code points a letter)",
  "日本語 and 東京の猫; 한국어 가나다",
  "don't stop -- it's 50% off! $3.14 @home #1 a_b",
  "tabs\tand\nlines\r\n  and   blanks\u00a0\u3000here",
  "ﬁne ＦＵＬＬ width ß Straße İstanbul",
  "control\u0000 chars\u200b zero\u200dwidth \u00adsoft \ufffd end",
  "emoji 🐈 🚀👩‍🚀 and math ∑x²≤∞",
  "unknown: ѣ ⴰ ꙮ צ ع ก",
  `${"run".repeat(33)} home`, // 99 characters
  `${"ran".repeat(40)} home`, // more than WordPiece takes for a word
  "[MASK] inside, [unused1] too",
];

let trained: Promise<Tokenizer> | undefined;
export function wordPieceTokenizer(): Promise<Tokenizer> {
  trained ??= Tokenizer.train([...sentences, ...texts.slice(0, 9)], { algorithm: "wordPiece", vocabSize: 500 });
  return trained;
}

/** A folder of random numbers; norms and biases as well, so that none is taken for another. */
export async function encoderFolder(config: object = {}, tokenizer?: Tokenizer): Promise<string> {
  const sizes = { hiddenSize: 256, intermediateSize: 512, numHiddenLayers: 3, numAttentionHeads: 8 };
  const about = { modelType: "bert", maxPositionEmbeddings: 128, initializerRange: 0.1, ...sizes } as const;
  await using model = createModel(
    { ...about, ...config },
    { seed: 7, tokenizer: tokenizer ?? (await wordPieceTokenizer()) },
  );
  const random = generator(11);
  for (const name of model.model.weightNames) {
    const tensor = model.model.weight(name);
    if (tensor.shape.length > 1) continue;
    await tensor.write(((await tensor.read()) as Float32Array).map((v) => v + 0.2 * (random() - 0.5)));
  }
  const folder = join(temporaryFolder(), "encoder");
  await model.save(folder);
  return folder;
}
