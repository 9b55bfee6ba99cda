// Compares speculative with plain decoding of the same model, interleaved. A random model that decodes greedily soon repeats itself, which
// prompt lookup exploits. Also reports the share of accepted tokens.

import type { Device } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { interleave, report } from "../measure.ts";
import { benchModel, shapeNames } from "../models.ts";

const PROMPT = 128;
const DECODE = 256;

export async function benchSpeculative(device: Device, { rounds = 7 } = {}): Promise<void> {
  for (const name of shapeNames) {
    await using model = await LanguageModel.load(await benchModel(name, device), { device });
    const prompt = Array.from({ length: PROMPT }, (_, i) => 3 + ((i * 7919) % 250));
    const common = { maxTokens: DECODE, temperature: 0, ignoreEos: true } as const;
    let share = 0;
    const run = async (promptLookupNumTokens: number) => {
      const { usage, timings } = await model.complete(prompt, { ...common, promptLookupNumTokens });
      if (promptLookupNumTokens) share = usage.acceptedTokens! / (usage.completionTokens - 1);
      return (DECODE - 1) / timings.decodeTokensPerSecond;
    };
    const [plain, lookUp] = await interleave(
      [
        { name: "plain", run: () => run(0) },
        { name: "prompt lookup", run: () => run(10) },
      ],
      rounds,
    );
    report({
      name: `speculative decode, prompt lookup of 10, ${name} bf16`,
      plain: { tokensPerSecond: Math.round((DECODE - 1) / plain!.median) },
      speculative: { tokensPerSecond: Math.round((DECODE - 1) / lookUp!.median) },
      acceptedShare: Math.round(share * 100) / 100,
      ratio: Math.round((plain!.median / lookUp!.median) * 100) / 100,
    });
  }
}
