// onnxruntime-node's side of bench/suites/prefill.ts, with a file of onnx_llama.py. Answers every line with the { seconds } of a prompt.
import { createInterface } from "node:readline";
import { openSession } from "./onnx_session.mjs";

const [folder, file, tokens, threads] = process.argv.slice(2);
const { ort, session } = await openSession(folder, file, threads);
const ids = BigInt64Array.from({ length: Number(tokens) }, (_, i) => BigInt(3 + ((i * 7919) % 250)));
const feeds = { ids: new ort.Tensor("int64", ids, [1, ids.length]) };
for await (const _ of createInterface({ input: process.stdin })) {
  const start = performance.now();
  await session.run(feeds);
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
}
