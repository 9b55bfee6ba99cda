// onnxruntime-node's side of bench/embed.ts, over a file of onnx_bert.py: answers a line { batches } of batches of token ids with the
// { seconds } that they take, each padded to its longest.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [folder, file, threads] = process.argv.slice(2);
const ort = createRequire(join(folder, "package.json"))("onnxruntime-node");
const session = await ort.InferenceSession.create(file, {
  executionProviders: ["cpu"],
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  graphOptimizationLevel: "all",
});

function feedsOf(batch) {
  const longest = Math.max(...batch.map((ids) => ids.length));
  const ids = new Int32Array(batch.length * longest);
  const mask = new Int32Array(batch.length * longest);
  for (const [i, sequence] of batch.entries()) {
    ids.set(sequence, i * longest);
    mask.fill(1, i * longest, i * longest + sequence.length);
  }
  const shape = [batch.length, longest];
  return { ids: new ort.Tensor("int32", ids, shape), mask: new ort.Tensor("int32", mask, shape) };
}

console.log(JSON.stringify({ version: ort.env.versions.node }));
for await (const line of createInterface({ input: process.stdin })) {
  const { batches } = JSON.parse(line);
  const start = performance.now();
  for (const batch of batches) await session.run(feedsOf(batch));
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
}
