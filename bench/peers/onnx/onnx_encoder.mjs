// onnxruntime-node's side of bench/suites/embed.ts, with a file of onnx_bert.py. Answers a line { batches }, which has batches of token ids, with
// the { seconds } that they take. Each batch is padded to its longest text.
import { createInterface } from "node:readline";
import { openSession } from "./onnx_session.mjs";

const [folder, file, threads] = process.argv.slice(2);
const { ort, session } = await openSession(folder, file, threads);

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

for await (const line of createInterface({ input: process.stdin })) {
  const { batches } = JSON.parse(line);
  const start = performance.now();
  for (const batch of batches) await session.run(feedsOf(batch));
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
}
