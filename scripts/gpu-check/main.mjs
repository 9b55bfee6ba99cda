// The program of scripts/gpu-check.sh, which documents its usage and examines the machine before.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { machineFacts } from "./machine.mjs";
import { writePack } from "./pack.mjs";
import { exitCode, runSteps } from "./runner.mjs";
import { phases, stepNames, stepsOf } from "./steps.mjs";
import { comparisons, resultLines, resultsName, screenTable, summaryText } from "./table.mjs";

function usage(message) {
  console.error(`gpu-check: ${message}`);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        emulator: { type: "boolean", default: false },
        simulator: { type: "boolean", default: false },
        "no-gpu": { type: "boolean", default: false },
        only: { type: "string" },
        seconds: { type: "string" },
        pack: { type: "string" },
      },
    });
  } catch (error) {
    return usage(error.message);
  }
}
const { values, positionals } = readArguments();
if (values.pack !== undefined) process.exit(writePack(resolve(values.pack)));

const modes = ["emulator", "simulator", "no-gpu"].filter((name) => values[name]);
const [folder, ...asked] = positionals;
if (folder === undefined || modes.length > 1)
  usage("expected one output folder, and at most one of --emulator, --simulator and --no-gpu");
const [mode = "gpu"] = modes;
const wrong = asked.find((name) => !phases.includes(name));
if (wrong !== undefined) usage(`expected the phases ${phases.join(" and ")}, got ${wrong}`);
// Eight minutes are 480 seconds. The rest is for the start and the summary. Rehearsals compile and compute on few CPU cores.
const limit = Number(values.seconds ?? (mode === "gpu" ? 470 : 3600));
if (!(limit > 0)) usage(`--seconds: expected a positive number, got ${values.seconds}`);
const only = values.only?.split(",");
const unknown = only?.find((name) => !stepNames().includes(name));
if (unknown !== undefined) usage(`--only: expected one of ${stepNames().join(", ")}, got ${unknown}`);

const out = resolve(folder);
mkdirSync(out, { recursive: true });
const machine = machineFacts(mode);
const summary = { mode, machine, phases: earlierPhases() };

/** Returns the phases of an earlier call on the same card and commit, so that the table has both. */
function earlierPhases() {
  try {
    const earlier = JSON.parse(readFileSync(join(out, "summary.json"), "utf8"));
    if (earlier.mode === mode && JSON.stringify(earlier.machine) === JSON.stringify(machine)) return earlier.phases;
  } catch {
    // The folder has no complete summary.
  }
  return {};
}

// Writes atomically, so that an interrupted check leaves the last complete summary.
function write(name, text) {
  const path = join(out, name);
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

async function runPhase(phase, built) {
  const start = Date.now();
  const log = join(out, `${phase}.log`);
  rmSync(log, { force: true });
  writeFileSync(log, "");
  const own = { started: new Date(start).toISOString(), seconds: 0, limit, steps: [] };
  summary.phases[phase] = own;
  const record = () => {
    own.seconds = Number(((Date.now() - start) / 1000).toFixed(1));
    write("summary.json", `${JSON.stringify(summary, null, 1)}\n`);
    write("summary.txt", summaryText(summary));
  };
  record();
  // A build that passed in this call serves both phases.
  const steps = stepsOf({ mode, phase, out }).filter(
    ({ name }) => (!only || only.includes(name)) && !(name === "build" && built),
  );
  return runSteps(steps, {
    log,
    deadline: start + limit * 1000,
    earlier: built ? [built] : [],
    onResult(result) {
      own.steps.push(result);
      record();
      const { name, status, seconds: took, why } = result;
      console.log(`${status.padEnd(8)} ${name}${took === undefined ? "" : ` (${took} s)`}${why ? `: ${why}` : ""}`);
    },
  });
}

const results = [];
for (const phase of asked.length > 0 ? phases.filter((name) => asked.includes(name)) : phases) {
  if (mode === "no-gpu" && phase === "bench") continue; // nothing can be measured
  results.push(
    ...(await runPhase(
      phase,
      results.find(({ name, status }) => name === "build" && status === "passed"),
    )),
  );
}
if (comparisons(summary).length > 0) write(resultsName(summary), resultLines(summary));
console.log(`\n${screenTable(summary)}`);
process.exit(exitCode(results));
