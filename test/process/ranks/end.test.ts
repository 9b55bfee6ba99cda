// How runs end under both MPI libraries: ranks that die, and signals.
import { readdir, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { LAUNCHERS, processOf, rankTest as test } from "../mpirun.ts";
import { prepareRuns } from "./train-ranks.ts";

let folder: string;
let train: Awaited<ReturnType<typeof prepareRuns>>["train"];
beforeAll(async () => {
  ({ folder, train } = await prepareRuns("ends"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The reports of heddle, but not those of its launcher. */
const reportsOf = (stderr: string) => stderr.match(/^.*(heddle: |world: ).*$/gm) ?? [];

describe.each(Object.keys(LAUNCHERS) as (keyof typeof LAUNCHERS)[])("with %s", (launcher) => {
  test("a killed rank ends all ranks, and the output names it", async () => {
    let [killed, victim] = [0, 0];
    const broken = await train(2, `killed-${launcher}`, {
      launcher,
      more: { maxSteps: 2000, saveSteps: 1000, lrScheduler: "constant" }, // it cannot end before the signal arrives
      atStep(step, pid) {
        if (step !== 10) return;
        killed = performance.now();
        victim = processOf(1, pid);
        process.kill(victim, "SIGKILL");
      },
    });
    expect(killed).toBeGreaterThan(0);
    expect(performance.now() - killed).toBeLessThan(30_000);
    // If MPICH's mpirun 4.2.1 sees the closed connection before the end of the process, it kills all ranks, names no process and returns 0.
    const isSilent = launcher === "mpich" && !broken.stdout.includes(" RUNNING AT ");
    if (!isSilent) expect(broken.code).not.toBe(0);
    expect(broken.losses.size).toBeLessThan(2000);
    // mpirun ends all ranks before heddle notices.
    expect(reportsOf(broken.stderr)).toEqual([]);
    if (launcher === "openMpi") expect(broken.stderr).toContain(`process rank 1 with PID ${victim} `);
    else {
      // mpirun names only the process. Rank 0 printed the processes of all ranks at the start.
      if (!isSilent) expect(broken.stdout).toContain(`PID ${victim} RUNNING AT`);
      expect(broken.stderr.match(/^rank \d.*$/gm)).toEqual([
        expect.stringMatching(/^rank 0 of 2 is PID \d+ on /),
        `rank 1 of 2 is PID ${victim} on ${hostname()}`,
      ]);
    }
  }, 120_000);

  /** Sends SIGTERM after the fifth step to one rank, or to mpirun. Returns the run's end, and its only checkpoint. */
  async function terminated(name: string, target: (mpirun: number) => number) {
    let sent = false;
    const stopped = await train(2, name, {
      launcher,
      more: { maxSteps: 2000, saveSteps: 1000, lrScheduler: "constant" },
      atStep(step, pid) {
        if (sent || step < 5) return;
        sent = true;
        process.kill(target(pid), "SIGTERM");
      },
    });
    const saved = (await readdir(join(folder, name))).filter((one) => one.startsWith("checkpoint-"));
    expect(saved).toHaveLength(1);
    const step = Number(saved[0]!.slice("checkpoint-".length));
    return { ...stopped, step, last: Math.max(...stopped.losses.keys()), checkpoint: join(folder, name, saved[0]!) };
  }

  test("SIGTERM to one rank makes all ranks stop after the same step, and saves it", async () => {
    const { code, stderr, step, last, checkpoint } = await terminated(`rank-${launcher}`, (pid) => processOf(1, pid));
    expect(code, stderr).toBe(143);
    expect(step).toBe(last);
    expect(reportsOf(stderr)).toEqual([
      `heddle: train: stopped with another rank; use --resume to continue from ${checkpoint}`,
    ]);
  }, 120_000);

  test("SIGTERM to mpirun makes all ranks stop after the same step, and saves it", async () => {
    const { code, stderr, step, last, checkpoint } = await terminated(`mpirun-${launcher}`, (pid) => pid);
    if (launcher === "openMpi") {
      // mpirun stops printing the output of ranks when it gets the signal.
      expect(code, stderr).toBe(1);
      expect(step).toBeGreaterThanOrEqual(last);
      expect(reportsOf(stderr).length).toBeLessThanOrEqual(1);
    } else {
      expect(code, stderr).toBe(143);
      expect(step).toBe(last);
      expect(reportsOf(stderr)).toEqual([
        `heddle: train: stopped by a signal; use --resume to continue from ${checkpoint}`,
      ]);
    }
  }, 120_000);
});
