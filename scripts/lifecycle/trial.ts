/**
 * Tries options of one stage of `heddle lifecycle`, starting from the model of an earlier stage. Measures the result on the development split,
 * whose names, countries and wordings occur neither in training data nor in the evaluation of `heddle lifecycle`.
 *
 *   npx jiti scripts/lifecycle/trial.ts --from life --stage dpo --steps 120 --options '{"learningRate": 5e-5, "beta": 0.05}'
 *
 * --from is a folder of `heddle lifecycle` in which pre-training is complete (for dpo, reward and grpo also the stage before). --parent
 * names another folder with the model to start from. --keep names a folder for the trained model. The last line of stdout is JSON.
 */
import { cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { evaluate } from "../../lib/lifecycle/evaluate.ts";
import { planOf } from "../../lib/lifecycle/plan.ts";
import { makeRecipe } from "../../lib/lifecycle/recipe/recipe.ts";
import { type TrainedStage, trainings } from "../../lib/lifecycle/stages.ts";
import { Workspace } from "../../lib/lifecycle/workspace.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string" },
    stage: { type: "string" },
    steps: { type: "string" },
    options: { type: "string", default: "{}" },
    replay: { type: "string" },
    parent: { type: "string" },
    reward: { type: "string" },
    seed: { type: "string", default: "1" },
    keep: { type: "string" },
    measure: { type: "string" },
  },
});
if (!values.from || !(values.stage || values.measure)) throw new Error("expected --from DIR and --stage NAME");

const folder = await mkdtemp(join(tmpdir(), "heddle-trial-"));
const plan = planOf({ seed: Number(values.seed), budgetMinutes: 20, quick: false });
const recipe = makeRecipe(plan.seed, plan.size);
const report = async (model: LanguageModel) => {
  const { metrics, newCountries, wronglyDeclined, samples } = await evaluate(model, recipe, {
    sets: recipe.development,
    questions: true,
  });
  for (const { prompt, text } of samples) console.error(`  ${prompt} → ${text}`);
  return { ...metrics, newCountries, wronglyDeclined };
};
const rounded = (_: string, value: unknown) => (typeof value === "number" ? Number(value.toPrecision(4)) : value);

try {
  if (values.measure) {
    const model = await LanguageModel.load(values.measure);
    console.log(JSON.stringify({ model: values.measure, ...(await report(model)) }, rounded));
    model.dispose();
  } else {
    const stage = values.stage as TrainedStage;
    if (values.steps) plan.stages[stage].steps = Number(values.steps);
    const work = await Workspace.open(folder, plan);
    await work.writeData(recipe);
    for (const name of ["tokenizer", "pretrain", "sft", "reward"]) {
      const parent =
        name === "reward" ? values.reward : values.parent && name !== "tokenizer" ? values.parent : undefined;
      if (name !== stage) await symlink(resolve(parent ?? join(values.from, name)), join(folder, name));
    }
    await mkdir(join(folder, stage), { recursive: true });
    const training = await trainings[stage]({
      work,
      development: recipe.development,
      trial: JSON.parse(values.options),
    });
    const before = process.cpuUsage();
    const spent = () => {
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1e6;
    };
    const metrics: Record<string, number>[] = [];
    for await (const event of training.run) {
      if (!("loss" in event)) continue;
      metrics.push({ loss: event.loss, ...event.metrics });
      if (event.step % 10 === 0)
        console.error(`${event.step} ${JSON.stringify({ loss: event.loss, ...event.metrics }, rounded)}`);
    }
    const trained = spent();
    const result = await training.run;
    const figures = stage === "reward" ? result.evalMetrics : await report(training.model);
    const cpu = { trainCpu: trained, evaluateCpu: spent() - trained };
    const tried = {
      stage,
      seed: plan.seed,
      steps: result.steps,
      tokens: result.tokensSeen,
      ...JSON.parse(values.options),
    };
    console.log(JSON.stringify({ ...tried, ...cpu, ...figures }, rounded));
    training.dispose();
    if (values.keep) await cp(join(folder, stage), values.keep, { recursive: true });
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
