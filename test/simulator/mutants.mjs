// Mutation tests on the simulator. A mutant of a kernel's PTX lacks one synchronizing statement, executes griddepcontrol.wait too late, or has
// one flipped bit in a matrix descriptor. Bits that the hardware ignores are not flipped. The small cases of test/emulator/kernels.cc must fail with
// each mutant, by a report or a wrong result.
//
//   node test/simulator/mutants.mjs DEVICE CASES [KERNEL [PATTERN]]     e.g. sm_90 "sm_90: wide tiles" tensor_warpgroup_kernel "^without"
//   node test/simulator/mutants.mjs --families FILE [FAMILY ...]        e.g. --families mutants.jsonl "attention gradient"
//   node test/simulator/mutants.mjs --missing
//
// DEVICE is sm_80 or sm_90. CASES is a prefix of case names. KERNEL is a pattern of kernel names. PATTERN selects mutants by their description.
// Needs the build of `npm run test:simulator`. Mutants that explained.mjs lists run too, and must survive.
// --families runs those of families.mjs, and appends each result to FILE. A run that was stopped continues there. Delete FILE after a change of
// a kernel. --missing lists the kernels and mutations that the cases run and no family has.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { finished, root } from "../../scripts/testing.mjs";
import { explained } from "./explained.mjs";
import { families } from "./families.mjs";

const program = join(root, ".cmake", "simulator", "cuda_kernels");

// Milliseconds. The cases of a family take seconds. A mutant that takes longer waits forever, for example for another block.
const TIMEOUT = 40_000;

/** Runs the cases that begin with `prefix`, until one fails. */
function run(device, prefix, mutant, timeout = TIMEOUT) {
  const environment = { ...process.env, HEDDLE_SIMULATOR: device, HEDDLE_SIMULATOR_MUTANT: mutant };
  return finished([program, prefix, "first"], environment, { timeout });
}

/**
 * Returns the mutants of the kernels that the cases of a family run, with the prefixes of the cases that run each.
 * @throws Error if its cases fail without a mutation, or have no such mutant
 */
async function mutantsOf({ device, cases, kernel = "", pattern = "" }) {
  const mutants = new Map();
  for (const prefix of [cases].flat()) {
    const control = await run(device, prefix, "list", 0);
    if (control.status !== 0) throw new Error(`the cases fail without a mutation:\n${control.output}`);
    for (const [word, name, what] of control.output.split("\n").map((line) => line.split("\t"))) {
      if (word !== "mutant" || !new RegExp(kernel).test(name) || !new RegExp(pattern).test(what)) continue;
      if (!mutants.has(name)) mutants.set(name, { name, what, prefixes: [] });
      mutants.get(name).prefixes.push(prefix);
    }
  }
  if (mutants.size === 0)
    throw new Error("no mutants: no kernel of these cases matches KERNEL, or none matches PATTERN");
  return [...mutants.values()];
}

/** Runs a mutant. Returns "caught", "explained", or what is wrong. */
async function judge({ device }, { name, what, prefixes }) {
  const reason = explained.find(({ mutant }) => mutant.test(`${name} ${what}`));
  for (const prefix of prefixes) {
    const { status, output } = await run(device, prefix, name);
    if (!output.includes("planted\t")) return "not planted";
    if (status !== 0) return reason ? "caught, but in explained.mjs" : "caught";
  }
  return reason ? "explained" : "survives";
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
  const wrong = results.length - count("caught") - count("explained");
  const counts = `${count("caught")} caught, ${count("explained")} explained, ${wrong} wrong`;
  console.log(`${title}${results.length} mutants: ${counts}`);
  return wrong;
}
const printWrong = ({ name, what, verdict }) => {
  if (verdict !== "caught" && verdict !== "explained") console.log(`${verdict}: ${name} ${what}`);
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

/** Names a mutant's kernel without its template arguments, and the first words of the mutation. */
const kindOf = ({ name, what }) =>
  `${name.replace(/_kernel.*$/, "_kernel").replace(/^.*_cu_[0-9a-f]{8}_?\d*/, "")} ${what.split(" ", 2).join(" ")}`;

/** Prints the kinds of mutants that the cases run and no family has. Returns their number. */
async function printMissing() {
  const known = new Set();
  for (const family of families) for (const mutant of await mutantsOf(family)) known.add(kindOf(mutant));
  const missing = new Set();
  for (const device of ["sm_80", "sm_90"])
    for (const mutant of await mutantsOf({ device, cases: "" }))
      if (!known.has(kindOf(mutant))) missing.add(`${device} ${kindOf(mutant)}`);
  for (const kind of missing) console.log(`in no family: ${kind}`);
  return missing.size;
}

async function runCases(device, cases, kernel, pattern) {
  const family = { device, cases, kernel, pattern };
  const results = [];
  await judgeAll(family, await mutantsOf(family), (mutant, verdict) => results.push({ ...mutant, verdict }));
  results.forEach(printWrong);
  return printCounts("", results);
}

const [first, second, ...others] = process.argv.slice(2);
const modes = { "--families": () => runFamilies(second, others), "--missing": printMissing };
if (!first || (!second && first !== "--missing")) {
  console.error(
    "usage: node test/simulator/mutants.mjs DEVICE CASES [KERNEL [PATTERN]] | --families FILE [FAMILY ...] | --missing",
  );
  process.exit(1);
}
try {
  const wrong = await (modes[first] ?? (() => runCases(first, second, ...others)))();
  process.exit(wrong === 0 ? 0 : 1);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
