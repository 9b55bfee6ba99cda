// A custom objective: SimPO (Meng et al. 2024), preference optimization without a reference model. It is written with the graph's
// functions, and gradients are derived automatically. The stage `simpo` does the same, but does not compute the log-probabilities of a reference model.
//   npx jiti examples/custom-objective.ts model-folder pairs.jsonl out
// (if heddle is a dependency: npx jiti node_modules/heddle/examples/custom-objective.ts …)
import { resolve } from "node:path";
import { dpo, LanguageModel } from "heddle";
import { affine, type DpoLoss, logSigmoid, mul, reciprocal, scale, sub } from "heddle/graph";

/** −log σ(β · (mean log-probability of chosen − of rejected) − γ), one number per pair. */
export const simpo: DpoLoss = ({ chosen, rejected, chosenLengths, rejectedLengths }) => {
  const [beta, gamma] = [2, 0.5];
  const margin = sub(mul(chosen, reciprocal(chosenLengths)), mul(rejected, reciprocal(rejectedLengths)));
  return scale(logSigmoid(affine(margin, beta, -gamma)), -1);
};

const [, script = "", folder, data, outputDir] = process.argv;
// Runs only if this file is the program. A configuration module can import the objective: `export default { loss: simpo, … }`.
if (import.meta.filename === resolve(script) && folder && data && outputDir) {
  const model = await LanguageModel.load(folder);
  for await (const event of dpo(model, { data, loss: simpo, evalFraction: 0.1, numTrainEpochs: 1, outputDir }))
    console.log(event);
  await model.dispose();
}
