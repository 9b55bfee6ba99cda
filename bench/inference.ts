// Prefill and decode against node-llama-cpp on the same bf16 file, interleaved. HEDDLE_BENCH_LLAMA names the peer's folder.
import { LanguageModel } from "../lib/generate/language-model.ts";
import type { Device } from "../lib/graph/index.ts";
import { median, report } from "./measure.ts";
import { benchModel, shapeNames } from "./models.ts";
import { type InferenceTiming, openLlamaCpp } from "./peers/llama-cpp.ts";

const PROMPT = 512;
const DECODE = 64;

export async function benchInference(device: Device, { rounds = 7, peers = true } = {}): Promise<void> {
  for (const name of shapeNames) {
    const file = await benchModel(name, device);
    await using model = await LanguageModel.load(file, { device });
    const peer = peers ? await openLlamaCpp(file, device.threads) : undefined;
    if (!peer) report({ note: "node-llama-cpp is not there (HEDDLE_BENCH_LLAMA): heddle alone" });
    const ours: InferenceTiming[] = [];
    const theirs: InferenceTiming[] = [];
    for (let round = -1; round < rounds; round++) {
      const a = await timeOurs(model);
      const b = await peer?.time(PROMPT, DECODE);
      if (round < 0) continue;
      ours.push(a);
      if (b) theirs.push(b);
    }
    peer?.close();
    for (const [phase, tokens] of [
      ["prefill", PROMPT],
      ["decode", DECODE],
    ] as const) {
      const a = median(ours.map((t) => t[phase]));
      const b = theirs.length ? median(theirs.map((t) => t[phase])) : undefined;
      report({
        name: `${phase} ${phase === "prefill" ? PROMPT : 1} ${name} bf16`,
        heddle: { tokensPerSecond: Math.round(tokens / a) },
        ...(b && { nodeLlamaCpp: { tokensPerSecond: Math.round(tokens / b) }, ratio: Math.round((b / a) * 100) / 100 }),
      });
    }
  }
}

/** The TypeScript loop that users have, sampling included. */
async function timeOurs(model: LanguageModel): Promise<InferenceTiming> {
  const session = model.session();
  const prompt = Array.from({ length: PROMPT + 1 }, (_, i) => 3 + ((i * 7919) % 250));
  const start = performance.now();
  let prefilled = 0;
  let count = 0;
  for await (const _ of session.generate(prompt, { maxTokens: DECODE + 1, temperature: 0, ignoreEos: true })) {
    if (count++ === 0) prefilled = performance.now();
  }
  session.dispose();
  return { prefill: (prefilled - start) / 1000, decode: (performance.now() - prefilled) / 1000 };
}
