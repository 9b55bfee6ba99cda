#!/usr/bin/env node
/**
 * Trains the embedded default model from scratch with the stages of `heddle lifecycle` in a longer run (plan.ts), then evaluates it.
 *
 *   node scripts/default-model/make.mjs [--work build/default-model] [--out models/default] [--threads 2]
 *
 * Needs a build (npm run build). A stopped or killed run resumes from its last checkpoint. The model replaces the one in --out only if it
 * passes the evaluation.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createJiti } from "jiti";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const { values } = parseArgs({
  options: {
    work: { type: "string", default: join(root, "build/default-model") },
    out: { type: "string", default: join(root, "models/default") },
    threads: { type: "string" },
  },
});
const work = resolve(values.work);
const out = resolve(values.out);

const source = createJiti(import.meta.url);
const { defaultPlan } = await source.import("./plan.ts");
const { runPlan } = await source.import("../../lib/lifecycle/run-plan.ts");

/** The stages whose result is the embedded model. */
const stages = ["tokenizer", "pretrain", "sft", "dpo"];
const threads = values.threads === undefined ? {} : { threads: Number(values.threads) };
for await (const event of runPlan(work, defaultPlan(), { stages, ...threads })) {
  if (event.type === "step" && event.step % 20 === 0)
    console.error(`${event.stage} ${event.step}/${event.maxSteps}: loss ${event.loss.toFixed(3)}`);
  if (event.type === "done") console.log(JSON.stringify(event.result));
}

const model = join(work, "model");
rmSync(model, { recursive: true, force: true });
mkdirSync(model);
// Copy the files of the finished model, but not its log and its checkpoints, which are folders.
for (const file of readdirSync(join(work, "dpo"), { withFileTypes: true }))
  if (file.isFile() && file.name !== "log.jsonl") cpSync(join(work, "dpo", file.name), join(model, file.name));
// generation_config.json sets a low temperature, because a model this small makes mistakes when unlikely tokens are sampled.
for (const file of ["NOTICE", "generation_config.json"]) copyFileSync(join(here, file), join(model, file));

const evaluation = spawnSync(process.execPath, [join(here, "evaluate.mjs"), "--model", model], {
  stdio: ["ignore", "pipe", "inherit"],
  encoding: "utf8",
});
if (evaluation.error) throw evaluation.error;
console.log(evaluation.stdout);
if (evaluation.status !== 0) {
  console.error(`The model in ${model} does not pass the evaluation; ${out} is unchanged.`);
  process.exit(1);
}
const figures = JSON.parse(evaluation.stdout.trim().split("\n").at(-1) ?? "");
const cardPath = join(model, "model_card.json");
const card = JSON.parse(readFileSync(cardPath, "utf8"));
const share = (/** @type {string} */ name, /** @type {number} */ value) => ({ name, metric: "share", value });
card.name = "heddle-default";
card.evaluations = [
  share("capitals, continued, seen wordings", figures.seen.accuracy),
  share("capitals, continued, held-out wordings", figures.heldOut.accuracy),
  share("capitals, asked in a chat, seen wordings", figures.chatSeen.accuracy),
  share("capitals, asked in a chat, held-out wordings", figures.chatHeldOut.accuracy),
  share("capitals of made-up countries invented, held-out names and wordings", figures.invented),
];
writeFileSync(cardPath, `${JSON.stringify(card, null, 2)}\n`);
rmSync(out, { recursive: true, force: true });
cpSync(model, out, { recursive: true });
console.error(`The model is in ${out}`);
