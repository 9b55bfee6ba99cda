// `heddle bench` end to end on small shapes: every suite, its report, and the gate against a baseline file.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BenchReport, bench, markdownSummary } from "../../lib/bench/index.ts";
import { runCli } from "../cli/run.ts";

let folder: string;
let report: BenchReport;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-bench-test-"));
  report = await bench({ quick: true, rounds: 3 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Writes a baseline file in which all speeds of the report are multiplied by a factor. */
async function baselineOf(factor: number): Promise<string> {
  const file = join(folder, `${factor}.json`);
  const results = report.results.map((r) => ({
    ...r,
    value: r.value * factor,
    relative: { ...r.relative, value: r.relative.value * factor },
  }));
  await writeFile(file, JSON.stringify({ ...report, results }));
  return file;
}

describe("bench", () => {
  test("measures every suite, and gives a share of the ceiling for all cases but the tokenizer's", () => {
    const names = report.results.map((r) => r.name);
    for (const kind of [
      "gemm f32",
      "gemm bf16",
      "gemm fp8",
      "gemv bf16",
      "gemv q8_0",
      "gemv q4_k",
      "log-probabilities forward bf16",
      "log-probabilities forward+backward bf16",
      "sample top-p",
      "attention forward f32",
      "rms_norm with residual bf16",
      "adamw f32",
      "prefill",
      "decode 1",
      "decode 8",
      "train step",
      "tokenizer",
    ])
      expect(
        names.filter((name) => name.startsWith(kind)),
        kind,
      ).not.toEqual([]);
    expect(new Set(names).size).toBe(names.length);
    for (const r of report.results) {
      expect(r.value, r.name).toBeGreaterThan(0);
      expect(r.interval[0], r.name).toBeLessThanOrEqual(r.value);
      expect(r.interval[1], r.name).toBeGreaterThanOrEqual(r.value);
      expect(r.roofline === null, r.name).toBe(r.unit === "MB/s");
      expect(r.ceiling === null, r.name).toBe(r.roofline === null);
      if (r.ceiling) expect(r.ceiling.value, r.name).toBeGreaterThan(0);
      expect(r.rounds).toBe(3);
    }
    expect(report.machine).toMatchObject({ device: "cpu", node: process.versions.node });
    expect(report).not.toHaveProperty("regressions");
  });

  test("leaves no files in the temporary folder", async () => {
    const before = (await readdir(tmpdir())).filter((name) => /^heddle-bench-\w{6}$/.test(name));
    await bench({ suites: ["inference"], quick: true, rounds: 1 });
    expect((await readdir(tmpdir())).filter((name) => /^heddle-bench-\w{6}$/.test(name))).toEqual(before);
  });

  test("a much faster baseline makes every case a regression, and a slower one none", async () => {
    const suites = ["gemm"] as const;
    const fast = await bench({ suites, quick: true, rounds: 3, baseline: await baselineOf(1e6) });
    expect(fast.regressions).toEqual(fast.results.map((r) => r.name));
    for (const r of fast.results) expect(r.baseline!.change).toBeLessThan(-0.9);
    const slow = await bench({ suites, quick: true, rounds: 3, baseline: await baselineOf(0.001) });
    expect(slow.regressions).toEqual([]);
    expect(slow.unmatched!.added).toEqual([]);
    expect(slow.unmatched!.missing).toContain("tokenizer encode prose");
  });

  test("rejects a baseline of another device", async () => {
    const file = join(folder, "other.json");
    await writeFile(
      file,
      JSON.stringify({ ...report, machine: { ...report.machine, device: "cuda", gpu: "NVIDIA H100" } }),
    );
    await expect(bench({ suites: ["gemm"], quick: true, rounds: 1, baseline: file })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(
        /^baseline: expected results of cpu \(.*\d threads\), got results of cuda \(NVIDIA H100\)$/,
      ),
    });
    await writeFile(file, JSON.stringify({ ...report, machine: { ...report.machine, threads: 77 } }));
    await expect(bench({ suites: ["gemm"], quick: true, rounds: 1, baseline: file })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/got results of cpu \(.*, 77 threads\)$/),
    });
  });

  test("the summary marks and counts slower cases", async () => {
    const names = report.results.map((r) => r.name);
    const regressions = [names[1]!, names.at(-1)!];
    const changed = report.results.map((r, i) =>
      i === 0 ? r : { ...r, baseline: { value: 1234, change: regressions.includes(r.name) ? -0.5 : 0.25 } },
    );
    const text = markdownSummary({ ...report, results: changed, regressions }, 0.05);
    const cells = text
      .split("\n")
      .filter((line) => line.startsWith("| "))
      .map((line) => line.slice(2, -2).split(" | "));
    expect(cells[0]).toEqual(["work", "value", "baseline", "change*", "roofline", ""]);
    const rows = cells.slice(2);
    expect(rows.map(([name]) => name)).toEqual(names);
    for (const [i, [name, value, baseline, change, , mark]] of rows.entries()) {
      const { unit } = report.results[i]!;
      expect(value?.endsWith(` ${unit}`), name).toBe(true);
      const isSlower = regressions.includes(name!);
      expect([baseline, change, mark], name).toEqual(
        i === 0 ? ["–", "new", ""] : ["1234", isSlower ? "−50.0 %" : "+25.0 %", isSlower ? "**slower**" : ""],
      );
    }
    expect(text).toContain("2 slower by more than 5 % beyond noise.");
    expect(markdownSummary({ ...report, regressions: [] }, 0.05)).toContain("Nothing is slower by more than 5 %");
    expect(markdownSummary(report, 0.05)).not.toContain("slower");
  });

  test("can be aborted, and validates its options", async () => {
    await expect(bench({ quick: true, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
    await expect(bench({ rounds: 0 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(bench({ suites: ["x" as "gemm"] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(bench({ baseline: join(folder, "none.json") })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("heddle bench", () => {
  test("the last line is the report; after a regression, the exit code is 1 and stderr names the kernel", async () => {
    const markdown = join(folder, "summary.md");
    const args = ["bench", "gemm", "--quick", "--rounds", "2", "--json"];
    const good = await runCli([...args, "--baseline", await baselineOf(0.001), "--markdown", markdown]);
    expect(good.code).toBe(0);
    expect(JSON.parse(good.stdout.trim().split("\n").at(-1)!)).toMatchObject({
      machine: { device: "cpu" },
      regressions: [],
    });
    expect(await readFile(markdown, "utf8")).toContain("| gemm f32 48x32x64 NT |");
    const bad = await runCli([...args, "--baseline", await baselineOf(1e6), "--max-regression", "5%"]);
    expect(bad.code).toBe(1);
    expect(bad.stderr).toMatch(/slower: gemm f32 48x32x64 NT: /);
  });

  test("rejects a baseline without common cases, and --fail-on-missing requires all of its cases", async () => {
    const args = ["bench", "gemm", "--quick", "--rounds", "1", "--json", "--baseline"];
    const all = join(folder, "all.json");
    await writeFile(all, JSON.stringify({ ...report, results: [] }));
    const empty = await runCli([...args, all]);
    expect(empty).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining("(expected at least one case)"),
    });
    const others = report.results.map((r) => ({ ...r, name: `${r.name} of old` }));
    await writeFile(all, JSON.stringify({ ...report, results: others }));
    const none = await runCli([...args, all]);
    expect(none.code).toBe(2);
    expect(none.stderr).toMatch(
      /\nheddle: --baseline: expected a file with at least one case of this run, got .*all\.json/,
    );
    expect(JSON.parse(none.stdout).regressions).toEqual([]); // the measurements are still printed

    const slow = await baselineOf(0.001); // includes cases of other suites
    expect((await runCli([...args, slow])).code).toBe(0);
    const missing = await runCli([...args, slow, "--fail-on-missing"]);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain("only in the baseline: tokenizer encode prose");
  });

  test("prints the limit as it was given, and only if the gate passes", async () => {
    const args = ["bench", "gemm", "--quick", "--rounds", "1", "--baseline", await baselineOf(0.001)];
    const good = await runCli([...args, "--max-regression", "7%"]);
    expect(good.stdout).toContain("\nno case is slower by more than 7 % beyond noise\n");
    const missing = await runCli([...args, "--fail-on-missing"]);
    expect(missing.code).toBe(1);
    expect(missing.stdout).not.toContain("no case is slower");
  });

  test("rejects an output path that is not writable, before it measures", async () => {
    const { code, stdout, stderr } = await runCli(["bench", "gemm", "--quick", "--markdown", join(folder, "no", "x")]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^heddle: .*no\/x: cannot be written: no such file or folder\n$/);
    expect((await runCli(["bench", "gemm", "--quick", "--markdown", folder])).stdout).toBe("");
  });

  test.each([
    [["bench", "gem"], /suite: expected one of gemm,/],
    [["bench", "--max-regression", "5%"], /--max-regression: requires --baseline/],
    [["bench", "--fail-on-missing"], /--fail-on-missing: requires --baseline/],
    [["bench", "--baseline", "x", "--max-regression", "lots"], /--max-regression: expected a number/],
    [["bench", "--baseline", "/nonexistent.json"], /--baseline: expected a file that can be read/],
  ])("rejects %j", async (args, message) => {
    const { code, stderr } = await runCli(args);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });
});
