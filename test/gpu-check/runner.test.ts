// The runner of scripts/gpu-check. GPU time is scarce, so a step that fails, hangs or cannot start must not affect the others.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

interface Result {
  name: string;
  extra?: boolean;
  status: string;
  seconds?: number;
  why?: string;
  tail?: string[];
  facts?: Record<string, unknown>;
}
const scripts = new URL("../../scripts/gpu-check/", import.meta.url);
const { runSteps, exitCode } = (await import(new URL("runner.mjs", scripts).href)) as {
  runSteps: (steps: object[], options: object) => Promise<Result[]>;
  exitCode: (results: object[]) => number;
};
const { printing, removeOtherBuild, stepNames, stepsOf } = (await import(new URL("steps.mjs", scripts).href)) as {
  printing: (pattern: string, status: number, command: readonly string[]) => string[];
  removeOtherBuild: (folder: string, checkout: string) => void;
  stepNames: () => string[];
  stepsOf: (options: object) => { name: string; seconds: number; extra?: boolean; env?: Record<string, string> }[];
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
async function run(name: string, steps: object[], seconds = 60, more: object = {}) {
  const seen: string[] = [];
  const log = join(folder, `${name}.txt`);
  const results = await runSteps(steps, {
    log,
    deadline: Date.now() + seconds * 1000,
    onResult: (result: Result) => seen.push(result.name),
    ...more,
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
    bash("is only compared with", "exit 1", { extra: true }),
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
    "skipped",
    "skipped",
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
  expect(results.filter((r) => r.extra).map((r) => r.name)).toEqual(["is only compared with"]);
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

test("the runner gives up a process that SIGKILL does not end", async () => {
  const pids: number[] = [];
  try {
    const judge = () => ({ status: "no time" });
    const steps = [bash("is stuck", "sleep 60", { seconds: 1, judge }), bash("next", "true")];
    const { of } = await run("stuck", steps, 60, { kill: (pid: number) => pids.push(pid) });
    expect(of["is stuck"]).toMatchObject({
      status: "failed",
      why: "does not end after SIGKILL: it may wait in the driver",
    });
    expect(of.next).toMatchObject({ status: "passed" });
  } finally {
    process.kill(-pids[0]!, "SIGKILL");
  }
});

test("a step is prepared before its command, and fails if that is not possible", async () => {
  const prepared = join(folder, "prepared");
  const { of } = await run("prepared", [
    bash("prepared", `[ -d '${prepared}' ]`, { prepare: () => mkdirSync(prepared) }),
    bash("not prepared", "true", { prepare: () => mkdirSync(prepared) }),
  ]);
  expect(of.prepared).toMatchObject({ status: "passed" });
  expect(of["not prepared"]).toMatchObject({
    status: "failed",
    why: expect.stringMatching(/^could not be prepared: EEXIST/),
  });
});

test("steps that the end of the phase interrupts or prevents get the status 'no time'", async () => {
  const start = Date.now();
  const { of } = await run(
    "deadline",
    [
      bash("long", "sleep 30"),
      bash("late", "true"),
      bash("needs it", "true", { after: ["long"] }),
      bash("not here", "true", { absent: () => "no such tool" }),
    ],
    5,
  );
  expect(of.long).toMatchObject({ status: "no time", why: "still running after 2 s, of 20 s that it may take" });
  expect(of.late).toMatchObject({ status: "no time", why: "needs 2 s, 0 s of the phase are left" });
  expect(of["needs it"]).toMatchObject({ status: "no time", why: "long did not pass" });
  expect(of["not here"]).toMatchObject({ status: "skipped" });
  expect(Date.now() - start).toBeLessThan(8000);
  const { of: none } = await run(
    "none",
    [bash("large", "true", { least: 15 }), bash("small", "true", { least: 1 })],
    12,
  );
  expect(none.large).toMatchObject({ status: "no time", why: expect.stringMatching(/^needs 15 s, [5-9] s/) });
  expect(none.small).toMatchObject({ status: "passed" });
});

test("a step may determine its own result, and a step is skipped if one that it needs failed in an earlier phase", async () => {
  const judge = ({ code, output }: { code: number; output: string }) => ({
    status: "failed",
    why: `${output.trim()} ${code}`,
  });
  const { of } = await run("judged", [bash("judged", "echo findings", { judge })]);
  expect(of.judged).toMatchObject({ status: "failed", why: "findings 0", tail: ["findings"] });
  const [late] = await runSteps([bash("late", "true", { after: ["build"] })], {
    log: join(folder, "earlier.txt"),
    deadline: Date.now() + 60_000,
    onResult: () => {},
    earlier: [{ name: "build", status: "failed" }],
  });
  expect(late).toMatchObject({ status: "skipped", why: "build did not pass" });
});

test.each([
  [0, ["passed"]],
  [1, ["passed", "failed", "no time", "skipped"]],
  [4, ["passed", "no time", "skipped"]],
  [3, ["passed", "skipped"]],
])("the exit code is %i for steps that are %j", (code, statuses) => {
  expect(exitCode(statuses.map((status) => ({ status })))).toBe(code);
  // A skipped comparison does not change the exit code.
  expect(exitCode([{ status: "passed" }, { status: "skipped", extra: true }])).toBe(0);
});

test("the steps of both phases have distinct names, and the sanitizers come last", () => {
  expect(new Set(stepNames()).size).toBe(stepNames().length);
  const names = (phase: string) => stepsOf({ mode: "gpu", phase, out: "." }).map(({ name }) => name);
  expect(names("correctness")).toEqual([
    ...["build", "info", "fragments", "kernels", "runs", "ops", "models"],
    ...["memcheck", "racecheck", "synccheck", "initcheck"],
  ]);
  expect(names("bench").slice(0, 9)).toEqual([
    ...["build", "bench-gemm", "bench-attention", "torch", "forecast"],
    ...["bench-rows", "bench-vocabulary", "bench-inference", "bench-train"],
  ]);
  const extra = stepsOf({ mode: "gpu", phase: "correctness", out: "." }).filter((step) => step.extra);
  expect(extra).toEqual([]);
});

test("benchmarks run without the choices of an earlier autotune, and tests with them", () => {
  const tuning = (phase: string) =>
    stepsOf({ mode: "gpu", phase, out: "." }).flatMap(({ env }) => (env ? [env.HEDDLE_TUNING] : []));
  expect(new Set(tuning("bench"))).toEqual(new Set(["off"]));
  expect(new Set(tuning("correctness"))).toEqual(new Set([undefined]));
});

test("a rehearsal on the simulator takes the device that HEDDLE_SIMULATOR names", () => {
  vi.stubEnv("HEDDLE_SIMULATOR", "sm_90");
  try {
    const steps = stepsOf({ mode: "simulator", phase: "correctness", out: "." });
    expect(steps.find(({ name }) => name === "kernels")!.env!.HEDDLE_SIMULATOR).toBe("sm_90");
  } finally {
    vi.unstubAllEnvs();
  }
});

test("removes the build folder of another checkout, and keeps its own", () => {
  const built = join(folder, "built");
  removeOtherBuild(built, "/checkout"); // a missing folder
  const cache = (home: string) => {
    mkdirSync(built, { recursive: true });
    writeFileSync(
      join(built, "CMakeCache.txt"),
      `# of CMake\nCMAKE_HOME_DIRECTORY:INTERNAL=${home}\nOTHER:INTERNAL=1\n`,
    );
  };
  cache("/checkout");
  removeOtherBuild(built, "/checkout");
  expect(existsSync(built)).toBe(true);
  cache("/checkout/copy");
  removeOtherBuild(built, "/checkout");
  expect(existsSync(built)).toBe(false);
});
