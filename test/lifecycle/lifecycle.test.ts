import { spawn } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HeddleError } from "../../lib/core/errors.ts";
import { type LifecycleOptions, lifecycle } from "../../lib/lifecycle/lifecycle.ts";
import type { LifecycleEvent, LifecycleResult } from "../../lib/lifecycle/types.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-lifecycle-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a quick lifecycle run", () => {
  const out = join(folder, "whole");
  const events: LifecycleEvent[] = [];
  let result: LifecycleResult;
  beforeAll(async () => {
    const run = lifecycle({ out, quick: true });
    for await (const event of run) events.push(event);
    result = await run;
  }, 300_000);

  it("gives the same figures again if a log ends in a truncated line", async () => {
    const log = join(out, "sft", "log.jsonl");
    const whole = readFileSync(log);
    appendFileSync(log, '{"step":5,"lo');
    const again = await lifecycle({ out, quick: true });
    writeFileSync(log, whole);
    expect(again.stages).toEqual(result.stages);
  });

  it("runs every stage and reports its metrics", () => {
    expect(result.stages.map(({ name }) => name)).toEqual(["tokenizer", "pretrain", "sft", "dpo", "reward", "grpo"]);
    for (const { name, steps, seconds, tokens, metrics } of result.stages) {
      expect(steps).toBe(name === "tokenizer" ? 0 : 4);
      expect(seconds).toBeGreaterThan(0);
      expect(tokens > 0).toBe(name !== "tokenizer");
      expect(Object.keys(metrics.after).length).toBeGreaterThan(0);
    }
    const [, pretrain, sft, dpo, , grpo] = result.stages;
    expect(Object.keys(pretrain!.metrics.after)).toEqual(["bitsPerByte", "capitals"]);
    for (const stage of [sft, dpo, grpo]) {
      const names = ["bitsPerByte", "capitals", "exactMatch", "answerableExactMatch", "inventedRate", "ece"];
      expect(Object.keys(stage!.metrics.after).sort()).toEqual(names.sort());
      expect(Object.keys(stage!.metrics.before).sort()).toEqual(names.sort());
    }
    // Both preference stages start from the same model.
    expect(dpo!.metrics.before).toEqual(sft!.metrics.after);
    expect(grpo!.metrics.before).toEqual(sft!.metrics.after);
  });

  it("reports what its models have not learned", () => {
    expect(result.missed[0]).toMatch(/^answers \d.*% of the questions exactly$/);
  });

  it("reports steps and the time left as it runs", () => {
    const steps = events.filter((event) => event.type === "step" && event.stage === "pretrain");
    expect(steps.map((event) => event.type === "step" && event.step)).toEqual([1, 2, 3, 4]);
    // The time left is known, at the latest, when the first trained stage ends.
    const trained = events.findIndex((event) => event.type === "done" && event.stage === "pretrain");
    for (const [i, { secondsLeft, type, stage }] of events.entries()) {
      if (i >= trained) expect(secondsLeft).toBeGreaterThanOrEqual(0);
      if (stage === "tokenizer" || (stage === "pretrain" && type === "stage")) expect(secondsLeft).toBeUndefined();
    }
    expect(events.at(-1)!.secondsLeft).toBe(0);
    // Each stage takes as many steps as it announced.
    for (const event of events) {
      if (event.type !== "done") continue;
      const own = events.filter(({ stage }) => stage === event.stage);
      const said = own.flatMap((one) => (one.type === "stage" || one.type === "step" ? [one.maxSteps] : []));
      expect([event.stage, new Set(said)]).toEqual([event.stage, new Set([event.result.steps])]);
      expect(own.filter(({ type }) => type === "step")).toHaveLength(event.result.steps);
    }
  });

  it("writes the report, the data, and a folder for each model", () => {
    expect(result.report).toBe(join(out, "report.html"));
    const html = readFileSync(result.report, "utf8");
    for (const id of ["gains", "curves", "samples", "tokens", "candidates", "calibration", "kinds"])
      expect(html.includes(`<section id="${id}">`)).toBe(true);
    for (const stage of ["pretrain", "sft", "dpo", "grpo"])
      expect(readdirSync(join(out, stage))).toContain("config.json");
    expect(existsSync(join(out, "data", "preferences.jsonl"))).toBe(true);
  });

  it("does nothing when it is already done", async () => {
    const again: LifecycleEvent[] = [];
    const run = lifecycle({ out, quick: true });
    for await (const event of run) again.push(event);
    expect(again).toEqual([]);
    expect(await run).toEqual(result);
  });

  it("warns of a budget that is too short before it begins", async () => {
    const warnings: string[] = [];
    const run = lifecycle({
      out: join(folder, "short"),
      budgetMinutes: 1,
      onWarning: (message) => warnings.push(message),
    });
    for await (const _ of run) break;
    expect(warnings).toEqual([
      expect.stringMatching(/^lifecycle: a budget of 1 minute allows 75 of the usual 1,500 steps/),
    ]);
  });

  it("rejects a folder with a run of another plan", async () => {
    const failure = await lifecycle({ out, quick: true, seed: 2 }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(HeddleError);
    expect((failure as HeddleError).message).toMatch(/the options of the run in .* \(seed 1, .*\), got seed 2/);
  });

  it("rejects a folder in which a stage was written by another program", async () => {
    const used = join(folder, "used");
    mkdirSync(join(used, "sft"), { recursive: true });
    writeFileSync(join(used, "sft", "config.json"), "{}");
    await expect(lifecycle({ out: used, quick: true })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: `out: expected a new folder, or that of an earlier lifecycle run, got ${used}, which contains sft but no lifecycle.json`,
    });
  });

  it.each(["{}", "null", '{"version":1,"plan":null,"done":null}', '{"version":1,"plan":[],"done":{}}'])(
    "rejects a state that is not that of a run: %s",
    async (text) => {
      const damaged = join(folder, "damaged");
      mkdirSync(damaged, { recursive: true });
      writeFileSync(join(damaged, "lifecycle.json"), text);
      await expect(lifecycle({ out: damaged, quick: true })).rejects.toMatchObject({
        code: "INVALID_FILE",
        message: `${join(damaged, "lifecycle.json")}: expected the state of a lifecycle run, got other JSON`,
      });
    },
  );

  it("continues after kill -9 with the same results", async () => {
    const killed = join(folder, "killed");
    const root = fileURLToPath(new URL("../..", import.meta.url));
    const jiti = join(root, "node_modules/jiti/lib/jiti-cli.mjs");
    const script = fileURLToPath(new URL("run-lifecycle.ts", import.meta.url));
    // Kills the run after a step of a stage, or at the end of one.
    for (const mark of ["pretrain 3", "sft 2", "dpo done", "grpo 3"]) await runUntil([jiti, script, killed], mark);
    const run = lifecycle({ out: killed, quick: true });
    const { stages } = await run;
    const figures = (some: LifecycleResult["stages"]) =>
      some.map(({ name, steps, tokens, metrics }) => ({ name, steps, tokens, metrics }));
    expect(figures(stages)).toEqual(figures(result.stages));
    // The report draws each logged step once, however often the run was killed.
    const drawn = (path: string) => {
      const html = readFileSync(join(path, "report.html"), "utf8");
      return [...html.matchAll(/id="loss-\w+">(\{"kind":"curves".*?\})<\/script>/g)].flatMap(
        ([, data]) => JSON.parse(data!).curves as { color: string; points: unknown[] }[],
      );
    };
    expect(drawn(out).map(({ color, points }) => [color, points.length])).toEqual(
      ["pretrain", "sft", "dpo", "reward", "grpo"].map((stage) => [stage, 4]),
    );
    expect(drawn(killed)).toEqual(drawn(out));
  }, 300_000);

  it("stops when it is aborted", async () => {
    const abort = new AbortController();
    const run = lifecycle({ out: join(folder, "aborted"), quick: true, signal: abort.signal });
    const failure = await (async () => {
      for await (const event of run) if (event.type === "step") abort.abort();
    })().catch((error: unknown) => error);
    expect((failure as HeddleError).code).toBe("ABORTED");
  });

  it.each([
    [{ budgetMinutes: 0 }, /budgetMinutes: expected a number above 0 and at most 10000, got 0/],
    [{ budgetMinutes: 20_000 }, /budgetMinutes: expected a number above 0 and at most 10000, got 20000/],
    [{ seed: 0.5 }, /seed: expected a whole number/],
    [{ out: "" }, /out: expected a folder/],
    [
      { outputDir: "x" },
      /outputDir: expected one of out, budgetMinutes, seed, quick, device, threads, signal, onWarning, got an unk/,
    ],
    [{ budgetMinute: 1 }, /budgetMinute: expected a known option \(nearest: budgetMinutes\), got an unknown one/],
    [{ quick: "yes" }, /quick: expected true or false, got "yes"/],
    [{ signal: {} }, /signal: expected an AbortSignal/],
    [null, /options: expected an object, got null/],
  ])("rejects %j", (options, message) => {
    expect(() => lifecycle(options as LifecycleOptions)).toThrow(message);
  });
});

/** Runs a script until its output has a line, then kills it without warning. */
function runUntil(args: string[], mark: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk;
      if (text.includes(`${mark}\n`)) child.kill("SIGKILL");
    });
    child.on("exit", (code, signal) => {
      if (signal === "SIGKILL") resolve();
      else reject(new Error(`expected to be killed at ${mark}, ended with ${code}: ${text}`));
    });
  });
}
