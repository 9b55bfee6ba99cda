// The runner of scripts/gpu-check. GPU time is scarce, so a step that fails, hangs or cannot start must not affect the others.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";

interface Result {
  name: string;
  status: string;
  seconds?: number;
  why?: string;
  tail?: string[];
  facts?: Record<string, unknown>;
}
const scripts = new URL("../../scripts/gpu-check/", import.meta.url);
const { runSteps, summaryText } = (await import(new URL("runner.mjs", scripts).href)) as {
  runSteps: (steps: object[], options: object) => Promise<Result[]>;
  summaryText: (summary: object) => string;
};
const { forecastResults, printing, stepNames } = (await import(new URL("steps.mjs", scripts).href)) as {
  printing: (pattern: string, status: number, command: readonly string[]) => string[];
  stepNames: () => string[];
  forecastResults: (json: string) => object[];
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-gpu-check-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const bash = (name: string, script: string, more: object = {}) => ({
  name,
  seconds: 20,
  command: ["bash", "-c", script],
  ...more,
});
async function run(name: string, steps: object[], seconds = 60) {
  const seen: string[] = [];
  const log = join(folder, `${name}.txt`);
  const results = await runSteps(steps, {
    log,
    deadline: Date.now() + seconds * 1000,
    onResult: (result: Result) => seen.push(result.name),
  });
  expect(seen).toEqual(results.map((r) => r.name));
  return {
    results,
    log: await readFile(log, "utf8").catch(() => ""),
    of: Object.fromEntries(results.map((r) => [r.name, r])),
  };
}

test("a failed step is recorded, and the following steps run", async () => {
  const output = join(folder, "own.txt");
  const { of, results, log } = await run("outcomes", [
    bash("fails", "echo before; echo why >&2; exit 3"),
    bash("crashes", "kill -SEGV $$"),
    { name: "unknown", seconds: 5, command: ["/nonexistent/program"] },
    bash("needs it", "true", { after: ["fails"] }),
    bash("may be refused", "exit 1", { optional: true }),
    bash("is not here", "true", { absent: () => "no such tool" }),
    bash("breaks its facts", "true", { facts: () => JSON.parse("{") }),
    bash("works", "echo $ADDED; echo to the log >&2", {
      env: { ADDED: "on stdout" },
      stdout: output,
      facts: () => ({ tests: { passed: 3, total: 3 } }),
    }),
  ]);
  expect(results.map((r) => r.status)).toEqual([
    "failed",
    "failed",
    "failed",
    "skipped",
    "refused",
    "absent",
    "passed",
    "passed",
  ]);
  expect(of.fails).toMatchObject({ why: "ended with exit status 3", tail: ["before", "why"] });
  expect(of.crashes!.why).toBe("ended with SIGSEGV");
  expect(of.unknown!.why).toMatch(/could not be started: .*ENOENT/);
  expect(of["needs it"]!.why).toBe("fails did not pass");
  expect(of["breaks its facts"]!.facts).toHaveProperty("unreadable");
  expect(await readFile(output, "utf8")).toBe("on stdout\n");
  expect(log).toContain("to the log");
  const text = summaryText({ mode: "gpu", device: null, steps: results });
  expect(text).toContain("2 passed, 3 failed, 1 skipped, 1 refused, 1 absent");
  expect(text).toMatch(/--- fails\nbefore\nwhy\n/);
  expect(text).toMatch(/passed +works .*3 of 3 tests/);
});

test("a step that expects a line and an exit status needs both, and keeps the log of earlier steps", async () => {
  const expecting = (name: string, script: string) => ({
    name,
    seconds: 20,
    command: printing("^the 0 devices", 1, ["bash", "-c", script]),
  });
  const { results, log } = await run("printing", [
    bash("earlier", "echo an earlier line"),
    expecting("both", "echo the 0 devices; exit 1"),
    expecting("another line", "echo the 1 devices; exit 1"),
    expecting("another status", "echo the 0 devices; exit 2"),
    expecting("neither", "true"),
  ]);
  expect(results.map(({ status }) => status)).toEqual(["passed", "passed", "failed", "failed", "failed"]);
  expect(results[2]!.tail).toEqual(["the 1 devices"]);
  for (const line of ["an earlier line", "the 0 devices", "the 1 devices"]) expect(log).toContain(`${line}\n`);
});

test("the summary compares the bench with the data sheet, and with PyTorch's and the forecast's figures of the same names", () => {
  const forecast = JSON.stringify([
    {
      results: [
        { title: "a product", bench: ["gemm"], unit: "TFLOP/s", value: 0.8 },
        { title: "sampling", unit: "ms", value: 1 },
      ],
    },
  ]);
  const result = { name: "gemm", value: 500, unit: "GFLOP/s", roofline: 0.5 };
  const steps = [
    {
      name: "bench-kernels",
      status: "passed",
      seconds: 1,
      facts: {
        results: [result, { ...result, name: "known", dataSheet: 0.4 }, { ...result, name: "own", roofline: null }],
      },
    },
    { name: "torch", status: "passed", seconds: 1, facts: { results: [{ name: "gemm", value: 1000 }] } },
    { name: "forecast", status: "passed", seconds: 1, facts: { results: forecastResults(forecast) } },
  ];
  const text = summaryText({ mode: "gpu", device: null, steps });
  expect(text).toContain(
    "gemm: 500.0 GFLOP/s, 50 % of its measured ceiling, 0.63 x the forecast of 800.0, 0.50 x PyTorch's 1000\n",
  );
  expect(text).toContain(
    "known: 500.0 GFLOP/s, 50 % of its measured ceiling, 40 % of the data sheet\nown: 500.0 GFLOP/s\n",
  );
});

test("the runner kills a hanging step and its children, even if it ignores SIGTERM", async () => {
  const marker = join(folder, "alive");
  const start = Date.now();
  const { of } = await run("hangs", [
    bash(
      "hangs",
      `trap '' TERM; (while :; do date +%s%N > '${marker}'; sleep 0.05; done) & while :; do sleep 0.05; done`,
      { seconds: 1 },
    ),
    bash("leaves a child", `(while :; do date +%s%N > '${marker}.2'; sleep 0.05; done) & sleep 0.3; exit 0`),
    bash("next", "true"),
  ]);
  expect(of.hangs).toMatchObject({ status: "failed", why: "still running after 1 s" });
  expect(of["leaves a child"]!.status).toBe("passed");
  expect(of.next!.status).toBe("passed");
  expect(Date.now() - start).toBeLessThan(15_000);
  await sleep(200);
  const before = [await readFile(marker, "utf8"), await readFile(`${marker}.2`, "utf8")];
  await sleep(300);
  expect([await readFile(marker, "utf8"), await readFile(`${marker}.2`, "utf8")]).toEqual(before);
});

test("the total time limits each step, and late steps are skipped", async () => {
  const start = Date.now();
  const { of } = await run("deadline", [bash("long", "sleep 30"), bash("late", "true")], 5);
  expect(of.long).toMatchObject({ status: "failed", why: "still running after 2 s" });
  expect(of.late).toMatchObject({ status: "skipped", why: "no time left" });
  expect(Date.now() - start).toBeLessThan(8000);
  const { of: none } = await run("none", [bash("never", "true")], 3);
  expect(none.never).toMatchObject({ status: "skipped", why: "no time left" });
});

test("the steps of gpu-check have distinct names and include the main checks", () => {
  expect(new Set(stepNames()).size).toBe(stepNames().length);
  for (const name of [
    "build",
    "fragments",
    "kernels",
    "ops",
    "models",
    "memcheck",
    "racecheck",
    "bench-kernels",
    "ncu-gemm",
  ])
    expect(stepNames()).toContain(name);
});
