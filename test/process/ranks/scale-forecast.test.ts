// scripts/scale-forecast.mjs and the tables of docs/scale.md, which come from it.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { node } from "../helpers.ts";

const file = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const forecast = async () => {
  const { code, stdout, stderr } = await node([file("scripts/scale-forecast.mjs")]);
  expect(code, stderr).toBe(0);
  return stdout.split("\n");
};
/** Returns the cells of a table's row, by the title above the table and the beginning of the row. */
const cellsOf = (lines: readonly string[], title: string, ranks: string, sharding: string) => {
  const row = lines.slice(lines.indexOf(title)).find((line) => line.startsWith(`| ${ranks} | \`${sharding}\` |`))!;
  return row
    .split("|")
    .slice(3, -1)
    .map((cell) => cell.trim());
};
const shown = (state: number, compute: number, communication: number) => [
  (state / 1e9).toFixed(1),
  compute.toFixed(2),
  communication.toFixed(2),
  `${Math.round((100 * compute) / (compute + communication))} %`,
];

test("predicted steps equal those that are calculated by hand from the assumptions", async () => {
  const lines = await forecast();
  // On CPUs, the last of 8 backward passes hides a part of the first of two communication passes.
  const cpu = (6 * 1.1e9 * 8192) / 3e12;
  const pass = (7 / 8) * (4.4e9 / 2e9) + Math.ceil(4.4e9 / 2 ** 21) * 7 * 3e-6;
  const hidden = (0.9 * (2 / 3) * cpu) / 8;
  expect(hidden).toBeLessThan(pass);
  expect(cellsOf(lines, "1.1B parameters, 8 micro-batches of 1,024 tokens per rank", "8", "optimizer")).toEqual(
    shown(1.1e9 * (8 + 8 / 8), cpu, 2 * pass - hidden),
  );
  // On GPUs, the backward pass hides the first communication pass. The second one sends the updated weights.
  const gpu = (6 * 3e9 * 8192) / 400e12;
  const weights = (7 / 8) * (12e9 / 185e9) + 290 * 3 * 5e-6;
  expect(weights).toBeLessThan(0.9 * (2 / 3) * gpu);
  expect(cellsOf(lines, "3B parameters, 8,192 tokens per GPU", "8", "optimizer")).toEqual(
    shown(3e9 * (8 + 8 / 8), gpu, weights),
  );
  // With divided gradients, the backward pass hides none of NCCL's calls.
  expect(cellsOf(lines, "3B parameters, 8,192 tokens per GPU", "8", "gradients")).toEqual(
    shown(3e9 * (4 + 12 / 8), gpu, 2 * weights),
  );
});

test("the guide lists the assumptions and rows that the script prints", async () => {
  const lines = await forecast();
  const guide = readFileSync(file("docs/scale.md"), "utf8");
  const [, section] = /## Predicted steps\n([\s\S]*?)\n## /.exec(guide)!;
  // The guide breaks lines.
  const text = section!.replaceAll(/\n {2}/g, " ");
  const assumptions = lines.filter((line) => line.startsWith("* "));
  expect(assumptions.length).toBeGreaterThan(10);
  for (const line of assumptions) expect(text).toContain(line);
  const rows = section!.split("\n").filter((line) => /^\| [\d,]+ \|/.test(line));
  expect(rows.length).toBeGreaterThan(10);
  for (const row of rows) expect(lines).toContain(row);
});
