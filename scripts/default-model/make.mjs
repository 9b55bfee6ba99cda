#!/usr/bin/env node
/**
 * Makes the embedded default model from nothing, by heddle's own commands: corpus, tokenizer, pre-training, evaluation.
 *
 *   node scripts/default-model/make.mjs [--work build/default-model] [--out models/default] [--threads 2] [--resume]
 *
 * Needs a build (npm run build). --resume goes on with a training that was interrupted; corpus and tokenizer are kept then.
 * The model replaces the one in --out only if it passes the evaluation.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const { values } = parseArgs({
  options: {
    work: { type: "string", default: join(root, "build/default-model") },
    out: { type: "string", default: join(root, "models/default") },
    threads: { type: "string" },
    resume: { type: "boolean", default: false },
  },
});
const work = resolve(values.work);
const out = resolve(values.out);
const heddle = join(root, "dist/cli/main.js");
const threads = values.threads ? ["--threads", values.threads] : [];

/** @param {string[]} args */
function node(...args) {
  console.error(`> node ${args.join(" ")}`);
  const { status, error } = spawnSync(process.execPath, args, { cwd: work, stdio: "inherit" });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

mkdirSync(work, { recursive: true });
if (!(values.resume && existsSync(join(work, "tokenizer")))) {
  rmSync(join(work, "run"), { recursive: true, force: true });
  node(join(here, "corpus.mjs"), "--out", join(work, "corpus"));
  const { vocabSize } = JSON.parse(readFileSync(join(here, "config.json"), "utf8")).model;
  node(heddle, "tokenizer", "train", "corpus/tokenizer.txt", "--vocab-size", String(vocabSize), "--out", "tokenizer");
}
copyFileSync(join(here, "config.json"), join(work, "config.json"));
node(heddle, "train", "pretrain", "--config", "config.json", ...threads, ...(values.resume ? ["--resume"] : []));
node(join(here, "evaluate.mjs"), "--model", join(work, "run"));

mkdirSync(out, { recursive: true });
for (const file of readdirSync(join(work, "run"), { withFileTypes: true })) {
  if (file.isFile()) cpSync(join(work, "run", file.name), join(out, file.name)); // checkpoints are folders
}
console.error(`The model is in ${out}`);
