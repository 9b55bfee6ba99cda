// onnxruntime-node's side of bench/prefill.ts, over a file of onnx_llama.py: answers every line with { seconds } of a prompt.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [folder, file, tokens, threads] = process.argv.slice(2);
const ort = createRequire(join(folder, "package.json"))("onnxruntime-node");
const session = await ort.InferenceSession.create(file, {
  executionProviders: ["cpu"],
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  graphOptimizationLevel: "all",
});
const ids = BigInt64Array.from({ length: Number(tokens) }, (_, i) => BigInt(3 + ((i * 7919) % 250)));
const feeds = { ids: new ort.Tensor("int64", ids, [1, ids.length]) };
console.log(JSON.stringify({ version: ort.env.versions.node }));
for await (const _ of createInterface({ input: process.stdin })) {
  const start = performance.now();
  await session.run(feeds);
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
}
