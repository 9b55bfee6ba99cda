// The table, the summary and the results of scripts/gpu-check, and how reports of compute-sanitizer are judged.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const scripts = new URL("../../scripts/gpu-check/", import.meta.url);
type Text = (summary: object) => string;
const { screenTable, summaryText, resultLines, resultsName } = (await import(new URL("table.mjs", scripts).href)) as {
  screenTable: Text;
  summaryText: Text;
  resultLines: Text;
  resultsName: Text;
};
const { judgeSanitizer, forecastResults, latestResults } = (await import(new URL("tools.mjs", scripts).href)) as {
  judgeSanitizer: (end: object) => object;
  forecastResults: (json: string) => object[];
  latestResults: (text: string) => object[] | undefined;
};
const { readResults, compare } = (await import(
  new URL("../scripts/cuda/forecast.mjs", new URL("..", scripts)).href
)) as {
  readResults: (path: string) => object[];
  compare: (results: object[], measured: object[]) => object[];
};

const machine = {
  gpu: "NVIDIA H100 80GB HBM3",
  computeCapability: "9.0",
  driver: "580.65.06",
  cuda: "13.0",
  commit: "18fbf3c0",
};
const phase = (steps: object[]) => ({ started: "2026-12-02T10:00:00.000Z", seconds: 312.4, limit: 470, steps });
const summaryOf = (correctness: object[], bench: object[]) => ({
  mode: "gpu",
  machine,
  phases: { correctness: phase(correctness), bench: phase(bench) },
});
const FORECAST = JSON.stringify([
  {
    results: [
      { title: "a product", bench: ["gemm bf16 NT"], unit: "TFLOP/s", value: 0.8 },
      { title: "sampling", unit: "ms", value: 1 },
      { title: "a decode step", bench: ["decode 1"], unit: "tokens/s", value: 2000 },
    ],
  },
]);
const product = { name: "gemm bf16 NT", value: 500, unit: "GFLOP/s", roofline: 0.5 };
const benches = [
  {
    name: "bench-gemm",
    status: "passed",
    seconds: 31,
    facts: {
      results: [
        product,
        { ...product, name: "known", value: 654_321, dataSheet: 0.4 },
        { ...product, name: "own", roofline: null },
      ],
    },
  },
  { name: "bench-tf32", status: "passed", seconds: 9, facts: { results: [product] } },
  {
    name: "torch",
    status: "passed",
    seconds: 9,
    extra: true,
    facts: { results: [{ name: "gemm bf16 NT", value: 1000 }] },
  },
  { name: "forecast", status: "passed", seconds: 9, extra: true, facts: { results: forecastResults(FORECAST) } },
];

test("the table compares each case with its ceiling, the data sheet, the forecast and PyTorch", () => {
  const table = screenTable(summaryOf([], benches));
  const lines = table.split("\n").map((line) => line.replace(/ {2,}/g, " | "));
  expect(lines[0]).toBe("NVIDIA H100 80GB HBM3, compute capability 9.0, driver 580.65.06, CUDA 13.0, commit 18fbf3c0");
  expect(lines).toContain(" | measured ceiling sheet forecast ratio | torch ratio");
  expect(lines).toContain("gemm bf16 NT | 500 GFLOP/s | 50 % | 800 | 0.63 | 1000 | 0.50");
  expect(lines).toContain("known | 654 TFLOP/s | 50 % | 40 %");
  expect(lines).toContain("own | 500 GFLOP/s");
  // The peers have no product with tf32.
  expect(lines).toContain("gemm bf16 NT, tf32 allowed | 500 GFLOP/s | 50 %");
});

test("the table names each step that did not pass with the reason, and counts failed, skipped and late steps apart", () => {
  const table = screenTable(
    summaryOf(
      [
        { name: "build", status: "passed", seconds: 35.2 },
        { name: "fragments", status: "passed", seconds: 0.8 },
        { name: "memcheck", status: "skipped", why: "compute-sanitizer is not installed" },
        {
          name: "ops",
          status: "failed",
          seconds: 12,
          why: "ended with exit status 1",
          facts: { tests: { passed: 3, total: 4 }, failures: ["linear: expected 1, got 2"] },
        },
        { name: "racecheck", status: "no time", why: "needs 20 s, 3 s of the phase are left" },
        {
          name: "info",
          status: "failed",
          seconds: 1,
          why: "ended with exit status 2",
          tail: ["a", "it does not load"],
        },
      ],
      [],
    ),
  );
  expect(table).toContain("correctness: 2 passed, 2 failed, 1 skipped, 1 no time; 312 s of 470 s\n");
  expect(table).toContain("  passed   build 35 s, fragments 0.8 s\n");
  expect(table).toContain("  failed   ops 12 s: ended with exit status 1; 3 of 4 tests; linear: expected 1, got 2\n");
  expect(table).toContain("  failed   info 1.0 s: ended with exit status 2; it does not load\n");
  expect(table.indexOf("failed   ops")).toBeLessThan(table.indexOf("no time  racecheck"));
  expect(table.indexOf("no time  racecheck")).toBeLessThan(table.indexOf("skipped  memcheck"));
});

test("the table fits a screen whatever it has to say, and says what it leaves out", () => {
  const many = (status: string, count: number) =>
    Array.from({ length: count }, (_, i) => ({
      name: `${status} step ${i}`,
      status,
      seconds: i,
      why: "a reason ".repeat(30),
    }));
  const results = Array.from({ length: 90 }, (_, i) => ({
    ...product,
    name: `case ${i} ${"x".repeat(80)}`,
    value: 10 ** (i % 7),
  }));
  const steps = [...many("passed", 30), ...many("failed", 20), ...many("no time", 20), ...many("skipped", 20)];
  const compared = { name: "torch", status: "passed", facts: { results: [{ name: results[89]!.name, value: 3 }] } };
  const summary = summaryOf(steps, [{ name: "bench-gemm", status: "passed", facts: { results } }, compared, ...steps]);
  const table = screenTable(summary).trimEnd().split("\n");
  expect(table.length).toBeLessThanOrEqual(50);
  for (const line of table) expect(line.length).toBeLessThanOrEqual(100);
  expect(table.filter((line) => /^ {2}… 52 more$/.test(line))).toHaveLength(2);
  const shown = table.filter((line) => line.startsWith("case ")).length;
  expect(table.at(-1)).toBe(`… ${90 - shown} more in summary.txt`);
  // A case with a result of PyTorch stays in the table.
  expect(table.some((line) => line.startsWith("case 89 "))).toBe(true);
  expect(summaryText(summary).match(/^case /gm)).toHaveLength(90);
});

test("the summary has the last lines of each step that did not pass", () => {
  const text = summaryText(
    summaryOf(
      [
        {
          name: "ops",
          status: "failed",
          seconds: 1,
          why: "ended with exit status 1",
          tail: ["before", "why"],
          facts: { failures: ["a test"] },
        },
        { name: "late", status: "no time", tail: ["half done"] },
      ],
      [],
    ),
  );
  expect(text).toContain("\n--- ops\na test\nbefore\nwhy\n");
  expect(text).toContain("\n--- late\nhalf done\n");
});

test("results name the card, the driver, CUDA and the commit, and the forecast's script reads them", () => {
  const summary = summaryOf([], benches);
  expect(resultsName(summary)).toBe("2026-12-02-h100-80gb-hbm3.jsonl");
  const [first, ...lines] = resultLines(summary)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as object);
  expect(first).toEqual({ machine: { ...machine, date: "2026-12-02T10:00:00.000Z" } });
  expect(lines[0]).toEqual({ ...product, forecast: 800, torch: 1000 });
  expect(lines).toHaveLength(4);
  const folder = mkdtempSync(join(tmpdir(), "heddle-gpu-results-"));
  try {
    writeFileSync(join(folder, "results.jsonl"), resultLines(summary));
    const [{ results }] = JSON.parse(FORECAST) as [{ results: object[] }];
    expect(compare(results, readResults(join(folder, "results.jsonl")))).toEqual([
      { title: "a product", name: "gemm bf16 NT", unit: "TFLOP/s", measured: 0.5, forecast: 0.8, ratio: 0.625 },
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the forecast has the names and units of the benchmarks, without cases that no benchmark measures", () => {
  expect(forecastResults(FORECAST)).toEqual([
    { name: "gemm bf16 NT", value: 800 },
    { name: "decode 1", value: 2000 },
  ]);
});

test("results of PyTorch are those of its last complete line", () => {
  const line = (...names: string[]) =>
    `${JSON.stringify({ torch: "2.9", results: names.map((name) => ({ name })) })}\n`;
  expect(latestResults("")).toBeUndefined();
  expect(latestResults(line("a").slice(0, 20))).toBeUndefined();
  expect(latestResults(`${line()}${line("a")}`)).toEqual([{ name: "a" }]);
  expect(latestResults(`${line("a")}${line("a", "b").slice(0, 40)}`)).toEqual([{ name: "a" }]);
});

const HEAD = "========= COMPUTE-SANITIZER\n";
test.each([
  [
    "no finding",
    { code: 0, output: `${HEAD}all kernels agree\n========= ERROR SUMMARY: 0 errors\n` },
    { status: "passed" },
  ],
  [
    "findings",
    {
      code: 9,
      output: `${HEAD}========= Invalid __global__ read of size 4 bytes\n========= ERROR SUMMARY: 3 errors\n`,
    },
    { status: "failed", why: "3 findings" },
  ],
  [
    "hazards",
    { code: 0, output: `${HEAD}========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)\n` },
    { status: "failed", why: "2 findings" },
  ],
  [
    "a finding before the time ended",
    { code: null, timedOut: true, output: `${HEAD}========= Error: Race reported between Write access\n` },
    { status: "failed", why: "Error: Race reported between Write access" },
  ],
  [
    "no finding when the time ended",
    { code: null, timedOut: true, output: HEAD },
    { status: "no time", why: "no finding until the time ended" },
  ],
  [
    "a failure of the program",
    { code: 1, output: `${HEAD}FAILED norms\n========= ERROR SUMMARY: 0 errors\n` },
    { status: "failed", why: "the program ended with exit status 1" },
  ],
  [
    "no report",
    { code: 1, output: "========= Error: No attachable process found\n" },
    { status: "skipped", why: "compute-sanitizer does not work here (exit status 1)" },
  ],
])("a run of compute-sanitizer with %s is judged by its report", (_, end, judged) => {
  expect(judgeSanitizer({ timedOut: false, ...end })).toEqual(judged);
});

test("two calls with one phase each give one summary of both, and their own exit codes", () => {
  const out = mkdtempSync(join(tmpdir(), "heddle-gpu-phases-"));
  const main = fileURLToPath(new URL("main.mjs", scripts));
  const check = (...args: string[]) =>
    spawnSync(process.execPath, [main, out, "--emulator", ...args], { encoding: "utf8", timeout: 100_000 });
  try {
    expect(check("correctness", "--only", "memcheck").status).toBe(0);
    const { status, stdout } = check("bench", "--only", "torch,ncu-gemm");
    expect(status).toBe(0);
    const { phases } = JSON.parse(readFileSync(join(out, "summary.json"), "utf8")) as {
      phases: Record<string, { steps: object[] }>;
    };
    expect(phases.correctness!.steps).toMatchObject([{ name: "memcheck", status: "skipped", why: "emulated device" }]);
    expect(phases.bench!.steps).toMatchObject([
      { name: "torch", status: "skipped" },
      { name: "ncu-gemm", status: "skipped" },
    ]);
    expect(stdout).toContain("correctness: 0 passed, 0 failed, 1 skipped, 0 no time");
    expect(check("tests").stderr).toBe("gpu-check: expected the phases correctness and bench, got tests\n");
    expect(check("--no-gpu")).toMatchObject({ status: 2 });
    expect(check("--only", "op").stderr).toMatch(/^gpu-check: --only: expected one of build, .*, got op\n$/);
    expect(check("--seconds", "0").stderr).toBe("gpu-check: --seconds: expected a positive number, got 0\n");
    expect(check("--nonsense")).toMatchObject({ status: 2 });
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
