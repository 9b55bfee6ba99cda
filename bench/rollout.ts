// GRPO's rollouts beside plain decoding of as many sequences with bf16 weights, interleaved: what training pays for drawing its
// answers from the weights that it is changing.

import { LanguageModel } from "../lib/generate/language-model.ts";
import { completeSeeded } from "../lib/generate/seeded.ts";
import type { Device } from "../lib/graph/index.ts";
import { RolloutModel } from "../lib/train/rollout/model.ts";
import { interleave, report, seconds } from "./measure.ts";
import { benchModel, type ShapeName } from "./models.ts";

const [answers, promptLength, maxTokens] = [8, 16, 48];

export async function benchRollout(device: Device, { rounds = 5 } = {}): Promise<void> {
  const seeded = Array.from({ length: answers }, (_, s) => ({
    ids: Array.from({ length: promptLength }, (_, i) => 3 + (((s >> 2) * 131 + i * 7919) % 250)),
    seed: s,
  }));
  const options = { maxTokens, temperature: 1, ignoreEos: true };
  for (const name of ["15M", "135M"] as ShapeName[]) {
    const file = await benchModel(name, device);
    await using plain = await LanguageModel.load(file, { device });
    await using policy = await LanguageModel.load(file, { device });
    await policy.model.prepareForTraining(policy.model.languageWeightNames);
    const sampler = new RolloutModel(policy, "bf16");
    const draw = (model: LanguageModel) => completeSeeded(model, seeded, options);
    const [bench, masters, rounded] = await interleave(
      [
        { name: "decode", run: () => seconds(() => draw(plain)) },
        { name: "masters", run: () => seconds(() => draw(policy)) },
        { name: "rollout", run: () => seconds(async () => draw(await sampler.refreshed())) },
      ],
      rounds,
    );
    sampler.dispose();
    const rate = (s: number) => Math.round((answers * maxTokens) / s);
    report({
      name: `rollout of ${answers} answers ${name}`,
      tokensPerSecond: rate(rounded!.median),
      decodeTokensPerSecond: rate(bench!.median),
      mastersTokensPerSecond: rate(masters!.median),
      ratio: Number((bench!.median / rounded!.median).toFixed(3)),
    });
  }
}
