// Compares GRPO's rollouts with plain decoding of the same number of sequences, interleaved. This is the cost of sampling answers from
// weights in training. The bf16 sampler is compared with bf16 weights, and the f32 masters with f32 weights.

import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertModel } from "../../lib/convert/convert.ts";
import type { Device } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { completeSeeded } from "../../lib/language-model/rollout-generate.ts";
import { RolloutModel } from "../../lib/train/rollout/model.ts";
import { interleave, pairedRatio, report, seconds } from "../measure.ts";
import { benchModel, type ShapeName } from "../models.ts";

const [answers, promptLength, maxTokens] = [8, 16, 48];

/** The bench model's weights in f32, as a folder that is loaded and not trained. */
async function f32Folder(name: ShapeName, device: Device): Promise<string> {
  const folder = join(tmpdir(), "heddle-bench", `${name}.f32`);
  if (!existsSync(folder)) await convertModel(await benchModel(name, device), folder, { dtype: "f32" });
  return folder;
}

export async function benchRollout(device: Device, { rounds = 5 } = {}): Promise<void> {
  const seeded = Array.from({ length: answers }, (_, s) => ({
    ids: Array.from({ length: promptLength }, (_, i) => 3 + (((s >> 2) * 131 + i * 7919) % 250)),
    seed: s,
  }));
  const options = { maxTokens, temperature: 1, ignoreEos: true };
  for (const name of ["15M", "135M"] as ShapeName[]) {
    const file = await benchModel(name, device);
    await using plain = await LanguageModel.load(file, { device });
    await using wide = await LanguageModel.load(await f32Folder(name, device), { device });
    await using policy = await LanguageModel.load(file, { device });
    await policy.model.prepareForTraining(policy.model.languageWeightNames);
    const sampler = new RolloutModel(policy, { dtype: "bf16" });
    const draw = (model: LanguageModel) => completeSeeded(model, seeded, options);
    const [bench, benchWide, masters, rounded] = await interleave(
      [
        { name: "decode", run: () => seconds(() => draw(plain)) },
        { name: "decode f32", run: () => seconds(() => draw(wide)) },
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
      ratio: pairedRatio(bench!, rounded!),
      mastersTokensPerSecond: rate(masters!.median),
      decodeF32TokensPerSecond: rate(benchWide!.median),
      mastersRatio: pairedRatio(benchWide!, masters!),
    });
  }
}
