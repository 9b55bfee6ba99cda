// Adds up vitest's JSON reports: node scripts/test-totals.mjs FOLDER [FAILED-STAGE ...]
// Prints every failed test again, because its own output may be far above in the log. The last line is "N passed, N failed". A failed stage
// without failed tests counts as one failure.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

const [folder, ...stages] = process.argv.slice(2);
let passed = 0;
let failed = 0;
let skipped = 0;
const failures = [];
const fail = (file, name, message) => {
  // Keep the message without the lines of its stack.
  const lines = (message ?? "").split("\n").filter((line) => line.trim() !== "" && !/^\s+at /.test(line));
  failures.push([`failed: ${relative(process.cwd(), file)} > ${name}`, ...lines.slice(0, 6)].join("\n    "));
};
for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  const report = JSON.parse(readFileSync(join(folder, file), "utf8"));
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  skipped += report.numPendingTests + report.numTodoTests;
  // Reports of native programs have only counts, without testResults.
  for (const { name, status, message, assertionResults } of report.testResults ?? []) {
    const tests = assertionResults.filter((test) => test.status === "failed");
    for (const test of tests) fail(name, test.fullName, test.failureMessages[0]);
    if (status === "failed" && tests.length === 0) fail(name, "the file itself", message);
  }
}
if (skipped > 0) console.log(`${skipped} skipped`);
for (const failure of failures) console.log(failure);
for (const stage of stages) console.log(`stage failed: ${stage}`);
console.log(`${passed} passed, ${Math.max(failed, failures.length, stages.length)} failed`);
