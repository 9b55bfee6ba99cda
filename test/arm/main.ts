// Runs test files in this process, for scripts/test-arm.mjs: `node main.js REPORT PATTERN FILE...`.
// Writes the numbers of passed, failed and skipped tests to REPORT, as JSON.
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { type File, startTests, type Task, type VitestRunner } from "@vitest/runner";

const [reportPath, pattern, ...paths] = process.argv.slice(2);
const counts = { passed: 0, failed: 0, skipped: 0 };

const config = {
  root: process.cwd(),
  setupFiles: [],
  passWithNoTests: false,
  sequence: { seed: 1, hooks: "stack", setupFiles: "list" },
  maxConcurrency: 1,
  testTimeout: 1_800_000,
  hookTimeout: 1_800_000,
  retry: 0,
  includeTaskLocation: false,
  tags: [],
  testNamePattern: pattern ? new RegExp(pattern) : undefined,
} as unknown as VitestRunner["config"];
const runner: VitestRunner = {
  config,
  importFile: (path) => import(pathToFileURL(path).href),
  onAfterRunSuite: ({ name, type, tasks }) => {
    if (type === "suite" && tasks.length > 0)
      console.log(`${name}: ${tasks.length} tests, ${process.uptime().toFixed()} s`);
  },
};

/** Counts the tests of a finished task, and prints the failures. */
function reportTask(task: Task, path: string): void {
  const name = path ? `${path} > ${task.name}` : task.name;
  for (const error of task.result?.errors ?? []) console.error(`FAILED ${name}\n${error.stack ?? error.message}\n`);
  if (task.type === "suite") {
    for (const inner of task.tasks) reportTask(inner, name);
    if (task.result?.state === "fail" && task.tasks.length === 0) counts.failed += 1;
  } else if (task.mode === "skip" || task.mode === "todo") counts.skipped += 1;
  else counts[task.result?.state === "pass" ? "passed" : "failed"] += 1;
}

const files: File[] = await startTests(paths, runner);
for (const file of files) reportTask(file, "");
writeFileSync(reportPath!, JSON.stringify(counts));
process.exit(counts.failed > 0 || counts.passed === 0 ? 1 : 0);
