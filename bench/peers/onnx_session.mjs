// How onnxruntime-node is opened for the benches: its CPU provider, all optimisations, as many threads as we have.
import { createRequire } from "node:module";
import { join } from "node:path";

/** @returns the package, from a folder's node_modules, and a session over a file; the package's version was written to stdout */
export async function openSession(folder, file, threads) {
  const ort = createRequire(join(folder, "package.json"))("onnxruntime-node");
  const session = await ort.InferenceSession.create(file, {
    executionProviders: ["cpu"],
    intraOpNumThreads: Number(threads),
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
  });
  console.log(JSON.stringify({ version: ort.env.versions.node }));
  return { ort, session };
}
