// Predicts the speed of the CUDA kernels from their machine code, and compares it with measured results. Needs nvcc, but no GPU.
//
//   node scripts/cuda-forecast.mjs [--card h100|a100|rtx4090|b200|rtx5090|h200] [--only TEXT] [--details] [--json] [--results FILE]
//
// Without --card, all cards. --only selects cases by a part of their title. --details shows each launch: instructions by kind, occupancy, and
// the time of each unit. FILE has results of `heddle bench --json`, or lines of JSON as in bench/results.
import { parseArgs } from "node:util";
import { cards } from "./cuda/cards.mjs";
import { compiler } from "./cuda/compile.mjs";
import { compare, forecast, readResults, sourcesOf } from "./cuda/forecast.mjs";

const { values } = parseArgs({
  options: {
    card: { type: "string" },
    only: { type: "string" },
    details: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    results: { type: "string" },
  },
});
if (values.card !== undefined && !(values.card in cards)) {
  console.error(`cuda-forecast: expected --card of ${Object.keys(cards).join(", ")}, got ${values.card}`);
  process.exit(2);
}

const digits = (n) => (n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2));
const micro = (seconds) => digits(seconds * 1e6);
const row = (...cells) => console.log(`| ${cells.join(" | ")} |`);

function print({ card, code, sources, assumptions, results }, measured) {
  console.log(`\n## ${card}, code of ${code}\n`);
  row("case", "forecast", "µs", "bound by", "DRAM", "tensor cores", "issue slots", "shared memory", "L2");
  console.log("|---|---|---|---|---|---|---|---|---|");
  for (const { title, value, unit, total, bound, seconds } of results) {
    const share = (unit) => (seconds[unit] ? `${Math.round((100 * seconds[unit]) / total)} %` : "");
    const shares = ["DRAM", "tensor", "issue", "shared", "L2"].map(share);
    row(title, `${digits(value)} ${unit}`, micro(total), bound, ...shares);
  }
  if (values.details) for (const result of results) printParts(result);
  if (measured) {
    console.log("\n| case | measured | forecast | ratio |\n|---|---|---|---|");
    for (const { title, unit, measured: m, forecast: f, ratio } of compare(results, measured))
      row(title, `${digits(m)} ${unit}`, `${digits(f)} ${unit}`, ratio.toFixed(2));
  }
  const notes = results.flatMap((r) => r.notes);
  if (notes.length > 0) console.log(`\nThe cases do not fit the code here:\n${notes.map((n) => `- ${n}`).join("\n")}`);
  console.log(`\nAssumptions:\n${assumptions.map((a) => `- ${a}`).join("\n")}`);
  console.log(
    `\nRates:\n${Object.entries(sources)
      .map(([what, source]) => `- ${what}: ${source}`)
      .join("\n")}`,
  );
}

function printParts({ title, parts }) {
  console.log(`\n### ${title}\n`);
  for (const { count, note, kernel, total, seconds, block, occupancy, waves, instructions, dram, l2, bound } of parts) {
    console.log(`${count} x ${note ?? kernel}: ${micro(total)} µs${bound ? `, bound by ${bound}` : ""}`);
    const list = (of, show) =>
      Object.entries(of)
        .sort((a, b) => b[1] - a[1])
        .map(([name, n]) => `${name} ${show(n)}`)
        .join(", ");
    console.log(`  µs: ${list(seconds, micro)}`);
    if (note) continue;
    console.log(`  warp instructions: ${list(instructions, (n) => n.toPrecision(3))}`);
    console.log(
      `  ${block.registers} registers, ${block.shared} bytes of shared memory, ${block.threads} threads: ${occupancy.blocks} blocks a multiprocessor (${occupancy.limit}), ${Math.round(100 * occupancy.share)} % of its warps, ${digits(waves)} waves`,
    );
    console.log(`  ${digits(dram / 1e6)} MB of DRAM, ${digits(l2 / 1e6)} MB of L2`);
  }
}

try {
  const measured = values.results === undefined ? undefined : readResults(values.results);
  const cubinPath = compiler();
  const names = values.card ? [values.card] : Object.keys(cards);
  for (const name of names) await cubinPath.prepare(sourcesOf(name, values.only), cards[name].code);
  const all = names.map((name) => forecast(name, cubinPath, values.only));
  if (values.json)
    console.log(
      JSON.stringify(measured ? all.map((f) => ({ ...f, measured: compare(f.results, measured) })) : all, null, 1),
    );
  else for (const one of all) print(one, measured);
} catch (error) {
  console.error(`cuda-forecast: ${error.message}`);
  process.exitCode = 1;
}
