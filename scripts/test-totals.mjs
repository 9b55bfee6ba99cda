// Adds up vitest's JSON reports: node scripts/test-totals.mjs FOLDER [FAILED-STAGE ...]
// The last line is "N passed, N failed"; a failed stage that no failed test explains counts as one failure.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const [folder, ...stages] = process.argv.slice(2);
let passed = 0;
let failed = 0;
let skipped = 0;
for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  const report = JSON.parse(readFileSync(join(folder, file), "utf8"));
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  skipped += report.numPendingTests + report.numTodoTests;
}
if (skipped > 0) console.log(`${skipped} skipped`);
for (const stage of stages) console.log(`stage failed: ${stage}`);
console.log(`${passed} passed, ${Math.max(failed, stages.length)} failed`);
