// Mutation tests on the simulator. A mutant of a kernel's PTX lacks one synchronizing statement, executes griddepcontrol.wait too late, or has
// one flipped bit in a matrix descriptor. The small cases of test/emulator/kernels.cc must fail with each mutant, by a report or a wrong result.
//
//   node test/simulator/mutants.mjs DEVICE CASES [KERNEL [PATTERN]]     e.g. sm_90 "sm_90: wide tiles" tensor_warpgroup_kernel "^without"
//
// DEVICE is sm_80 or sm_90. CASES is a prefix of case names. KERNEL is a part of kernel names. PATTERN selects mutants by their description.
// Needs the build of `npm run test:simulator`. Mutants that harmless.mjs lists run too, and must survive.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { finished, root } from "../../scripts/testing.mjs";
import { harmless } from "./harmless.mjs";

const [device, cases, kernel = "", pattern = ""] = process.argv.slice(2);
if (!device || !cases) {
  console.error("usage: node test/simulator/mutants.mjs DEVICE CASES [KERNEL [PATTERN]]");
  process.exit(1);
}
const program = join(root, ".cmake", "simulator", "cuda_kernels");
const run = (mutant) =>
  finished([program, cases, "first"], { ...process.env, HEDDLE_SIMULATOR: device, HEDDLE_SIMULATOR_MUTANT: mutant });

const control = await run("list");
if (control.status !== 0) {
  console.error(`the cases fail without a mutation:\n${control.output}`);
  process.exit(1);
}
const mutants = control.output
  .split("\n")
  .map((line) => line.split("\t"))
  .filter(([word, name]) => word === "mutant" && name.includes(kernel))
  .filter(([, , what]) => new RegExp(pattern).test(what))
  .map(([, name, what]) => ({ name, what }));
if (mutants.length === 0) {
  console.error("no mutants: no kernel of these cases matches KERNEL, or no mutant matches PATTERN");
  process.exit(1);
}
let caught = 0;
let explained = 0;
const wrong = [];
const left = [...mutants];
async function worker() {
  for (let mutant = left.shift(); mutant; mutant = left.shift()) {
    const { status, output } = await run(mutant.name);
    const reason = harmless.find(({ kernel: name, what }) => mutant.name.includes(name) && what.test(mutant.what));
    if (!output.includes("planted\t")) wrong.push(`not planted: ${mutant.name} ${mutant.what}`);
    else if (status !== 0 && !reason) caught += 1;
    else if (status === 0 && reason) explained += 1;
    else wrong.push(`${reason ? "caught, but listed as harmless" : "survives"}: ${mutant.name} ${mutant.what}`);
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, worker));
for (const line of wrong) console.log(line);
console.log(`${mutants.length} mutants: ${caught} caught, ${explained} explained as harmless, ${wrong.length} wrong`);
process.exit(wrong.length === 0 ? 0 : 1);
