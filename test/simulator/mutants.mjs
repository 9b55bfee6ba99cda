// Mutation tests on the simulator. A mutant of a kernel's PTX lacks one synchronizing statement, executes griddepcontrol.wait too late, or has
// one flipped bit in a matrix descriptor. Bits that the hardware ignores are not flipped. The small cases of test/emulator/kernels.cc must fail with
// each mutant, by a report or a wrong result.
//
//   node test/simulator/mutants.mjs DEVICE CASES [KERNEL [PATTERN]]     e.g. sm_90 "sm_90: wide tiles" tensor_warpgroup_kernel "^without"
//   node test/simulator/mutants.mjs --families FILE [FAMILY ...]        e.g. --families mutants.jsonl "attention gradient"
//
// DEVICE is sm_80 or sm_90. CASES is a prefix of case names. KERNEL is a part of kernel names. PATTERN selects mutants by their description.
// Needs the build of `npm run test:simulator`. Mutants that harmless.mjs lists run too, and must survive.
// --families runs those of families.mjs, and appends each result to FILE. A run that was stopped continues there. Delete FILE after a change of
// a kernel.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { finished, root } from "../../scripts/testing.mjs";
import { families } from "./families.mjs";
import { harmless } from "./harmless.mjs";

const program = join(root, ".cmake", "simulator", "cuda_kernels");

// Milliseconds. The cases of a family take seconds. A mutant that takes longer waits forever, for example for another block.
const TIMEOUT = 120_000;

/** Runs the cases of a family, prefix by prefix, until one fails. Returns the status of the last run and the output of all. */
async function run({ device, cases }, mutant) {
  const environment = { ...process.env, HEDDLE_SIMULATOR: device, HEDDLE_SIMULATOR_MUTANT: mutant };
  let [status, output] = [0, ""];
  for (const prefix of [cases].flat()) {
    if (status !== 0) break;
    const result = await finished([program, prefix, "first"], environment, { timeout: TIMEOUT });
    status = result.status;
    output += result.output;
  }
  return { status, output };
}

/** Returns the mutants that the cases of a family can run. @throws Error if its cases fail without a mutation, or have no such mutant */
async function mutantsOf(family, pattern = "") {
  const control = await run(family, "list");
  if (control.status !== 0) throw new Error(`the cases fail without a mutation:\n${control.output}`);
  const lines = new Set(control.output.split("\n")); // several prefixes may run a kernel
  const mutants = [...lines]
    .map((line) => line.split("\t"))
    .filter(([word, name]) => word === "mutant" && name.includes(family.kernel))
    .filter(([, , what]) => new RegExp(pattern).test(what))
    .map(([, name, what]) => ({ name, what }));
  if (mutants.length === 0)
    throw new Error("no mutants: no kernel of these cases matches KERNEL, or none matches PATTERN");
  return mutants;
}

/** Runs a mutant. Returns "caught", "harmless", or what is wrong. */
async function judge(family, { name, what }) {
  const { status, output } = await run(family, name);
  const reason = harmless.find(({ mutant }) => mutant.test(`${name} ${what}`));
  if (!output.includes("planted\t")) return "not planted";
  if (status !== 0) return reason ? "caught, but listed as harmless" : "caught";
  return reason ? "harmless" : "survives";
}

/** Judges the mutants of a family in parallel, calling report(mutant, verdict) for each. */
async function judgeAll(family, mutants, report) {
  const left = [...mutants];
  const worker = async () => {
    for (let mutant = left.shift(); mutant; mutant = left.shift()) report(mutant, await judge(family, mutant));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

/** Prints the counts of a family, and returns the number of wrong mutants. */
function printCounts(title, results) {
  const count = (verdict) => results.filter((result) => result.verdict === verdict).length;
  const wrong = results.length - count("caught") - count("harmless");
  const counts = `${count("caught")} caught, ${count("harmless")} explained as harmless, ${wrong} wrong`;
  console.log(`${title}${results.length} mutants: ${counts}`);
  return wrong;
}
const printWrong = ({ name, what, verdict }) => {
  if (verdict !== "caught" && verdict !== "harmless") console.log(`${verdict}: ${name} ${what}`);
};

async function runFamilies(file, wanted) {
  const unknown = wanted.filter((name) => !families.some(({ family }) => family === name));
  if (unknown.length > 0) throw new Error(`expected families of families.mjs, got ${unknown.join(", ")}`);
  const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
  const known = lines.map((line) => JSON.parse(line));
  let wrong = 0;
  for (const family of families) {
    if (wanted.length > 0 && !wanted.includes(family.family)) continue;
    const results = known.filter((result) => result.family === family.family);
    const done = new Set(results.map(({ name }) => name));
    const mutants = (await mutantsOf(family)).filter(({ name }) => !done.has(name));
    await judgeAll(family, mutants, ({ name, what }, verdict) => {
      const result = { family: family.family, name, what, verdict };
      results.push(result);
      appendFileSync(file, `${JSON.stringify(result)}\n`);
    });
    results.forEach(printWrong);
    wrong += printCounts(`${family.family}: `, results);
  }
  return wrong;
}

async function runCases(device, cases, kernel = "", pattern = "") {
  const family = { device, cases, kernel };
  const results = [];
  await judgeAll(family, await mutantsOf(family, pattern), (mutant, verdict) => results.push({ ...mutant, verdict }));
  results.forEach(printWrong);
  return printCounts("", results);
}

const [first, second, ...others] = process.argv.slice(2);
if (!first || !second) {
  console.error(
    "usage: node test/simulator/mutants.mjs DEVICE CASES [KERNEL [PATTERN]] | --families FILE [FAMILY ...]",
  );
  process.exit(1);
}
try {
  const wrong = first === "--families" ? await runFamilies(second, others) : await runCases(first, second, ...others);
  process.exit(wrong === 0 ? 0 : 1);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
