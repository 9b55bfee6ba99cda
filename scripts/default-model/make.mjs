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
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
  beginWithBos(join(work, "tokenizer"));
}
copyFileSync(join(here, "config.json"), join(work, "config.json"));
node(heddle, "train", "pretrain", "--config", "config.json", ...threads, ...(values.resume ? ["--resume"] : []));
node(join(here, "evaluate.mjs"), "--model", join(work, "run"));

mkdirSync(out, { recursive: true });
for (const file of readdirSync(join(work, "run"), { withFileTypes: true })) {
  if (file.isFile()) cpSync(join(work, "run", file.name), join(out, file.name)); // checkpoints are folders
}
copyFileSync(join(here, "NOTICE"), join(out, "NOTICE"));
console.error(`The model is in ${out}`);

/**
 * Documents begin with <|endoftext|> in training; a prompt should too. A trained tokenizer adds nothing by itself: here its
 * post-processor is made one that puts the token in front, as those of Llama models do.
 *
 * @param {string} folder
 */
function beginWithBos(folder) {
  const path = join(folder, "tokenizer.json");
  const tokenizer = JSON.parse(readFileSync(path, "utf8"));
  const { id, content } = tokenizer.added_tokens[0];
  const bos = { SpecialToken: { id: content, type_id: 0 } };
  const text = (/** @type {string} */ name, /** @type {number} */ type) => ({ Sequence: { id: name, type_id: type } });
  tokenizer.post_processor = {
    type: "TemplateProcessing",
    single: [bos, text("A", 0)],
    pair: [bos, text("A", 0), { SpecialToken: { id: content, type_id: 1 } }, text("B", 1)],
    special_tokens: { [content]: { id: content, ids: [id], tokens: [content] } },
  };
  writeFileSync(path, `${JSON.stringify(tokenizer)}\n`);
}
