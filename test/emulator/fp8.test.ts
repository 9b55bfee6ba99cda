// An fp8 model on emulated devices of compute capability 9.0 (wgmma) and 8.9 (mma.sync), compared with the CPU.
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { Device } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { makeFp8 } from "../formats/fp8-folder.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { maxRowDifference } from "../helpers/max-difference.ts";
import { tinyModel } from "../inference/helpers.ts";

afterAll(() => void vi.unstubAllEnvs());

const cases = ["sm_89", "sm_90"].flatMap((device) => (["f32", "int8"] as const).map((type) => [device, type] as const));
test.each(cases)(
  "logits are close to the CPU's on %s with quantizedActivations %s",
  async (emulated, quantizedActivations) => {
    vi.stubEnv("HEDDLE_EMULATE_CUDA", emulated);
    const folder = join(temporaryFolder(), "model");
    const sizes = { hiddenSize: 160, intermediateSize: 272, initializerRange: 1 / 16 };
    await using made = tinyModel({ device: new Device(1) }, sizes);
    await made.save(folder);
    await makeFp8(folder);
    await using expected = await LanguageModel.load(folder, { device: new Device(1), quantizedActivations });
    await using model = await LanguageModel.load(folder, { device: new Device(1, 0), quantizedActivations });
    const ids = [5, 17, 2, 301, 44, 9, 120, 7, 7, 63];
    const [want, got] = [await expected.logits(ids), await model.logits(ids)];
    const all = want.flatMap((row) => [...row]);
    const worst = maxRowDifference(want, got);
    // The devices add in different orders, so an activation that is rounded to e4m3 may differ by one step, up to 2^-3 of its value.
    expect(worst / (Math.max(...all) - Math.min(...all))).toBeLessThanOrEqual(
      quantizedActivations === "f32" ? 1e-4 : 0.02,
    );
  },
);
