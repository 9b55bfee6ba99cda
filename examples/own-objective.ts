// A custom objective: SimPO (Meng et al. 2024), preference optimisation without a reference model. It is written with the graph's
// functions, and gradients are derived automatically.
//   npx jiti examples/own-objective.ts model-folder pairs.jsonl out
// (if heddle is a dependency: npx jiti node_modules/heddle/examples/own-objective.ts …)
import { resolve } from "node:path";
import { dpo, LanguageModel } from "heddle";
import { affine, type DpoLoss, logSigmoid, mul, reciprocal, scale, sub } from "heddle/graph";

/** −log σ(β · (mean log-probability of chosen − of rejected) − γ), a number a pair. */
export const simpo: DpoLoss = ({ chosen, rejected, chosenLengths, rejectedLengths }) => {
  const [beta, gamma] = [2, 0.5];
  const margin = sub(mul(chosen, reciprocal(chosenLengths)), mul(rejected, reciprocal(rejectedLengths)));
  return scale(logSigmoid(affine(margin, beta, -gamma)), -1);
};

const [, script = "", folder, data, outputDir] = process.argv;
// As a program; a configuration that is a module may import the objective alone: `export default { loss: simpo, … }`.
if (import.meta.filename === resolve(script) && folder && data && outputDir) {
  const model = await LanguageModel.load(folder);
  for await (const event of dpo(model, { data, loss: simpo, evalFraction: 0.1, numTrainEpochs: 1, outputDir }))
    console.log(event);
  await model.dispose();
}
