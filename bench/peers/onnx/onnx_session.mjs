// Opens onnxruntime-node for the benches with its CPU provider, all optimizations, and as many threads as heddle uses.
import { createRequire } from "node:module";
import { join } from "node:path";

/** Prints the version of the package in a folder's node_modules. @returns the package, and a session for a file */
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
