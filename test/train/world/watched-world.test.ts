// Worlds whose ranks watch each other, in processes that end in every way. The worlds have no devices. A sum of 1 completes at once. A sum of 0
// never completes, like a sum of NCCL after a rank is lost.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "rolldown";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../../helpers/free-port.ts";
import type { Task } from "./watch-rank.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
let folder: string;
let program: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-watch-"));
  program = join(folder, "rank.mjs");
  const input = fileURLToPath(new URL("watch-rank.ts", import.meta.url));
  await build({ input, platform: "node", output: { file: program, format: "esm" } });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Rank {
  process: ChildProcess;
  stderr: string;
  /** Resolves with the exit code, or the signal, when the process has ended. */
  ended: Promise<number | string>;
}

async function start(size: number, silenceSeconds = 60): Promise<Rank[]> {
  const port = await freePort();
  const env = { HEDDLE_BINARY: join(root, "build/Release/heddle.node"), ...process.env };
  const ranks = Array.from({ length: size }, (_, rank): Rank => {
    const child = fork(program, [rank, size, port, silenceSeconds].map(String), { env, silent: true });
    const started: Rank = {
      process: child,
      stderr: "",
      ended: once(child, "close").then(([code, signal]) => code ?? signal),
    };
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      started.stderr += text;
    });
    return started;
  });
  await Promise.all(ranks.map(({ process: child }) => once(child, "message")));
  return ranks;
}

const tell = (rank: Rank | undefined, task: Task | "end") => rank!.process.send(task);
async function perform(ranks: readonly Rank[], task: Task): Promise<void> {
  const performed = ranks.map(({ process: child }) => once(child, "message"));
  for (const rank of ranks) tell(rank, task);
  await Promise.all(performed);
}

/** Expects processes to end with a code and one message each, within 30 seconds. */
async function expectEnds(ranks: readonly (Rank | undefined)[], code: number, message: RegExp): Promise<void> {
  const since = performance.now();
  for (const rank of ranks) {
    expect(await rank!.ended, rank!.stderr).toBe(code);
    expect(rank!.stderr.match(/world: rank.*/g), rank!.stderr).toHaveLength(1);
    expect(rank!.stderr).toMatch(message);
  }
  expect(performance.now() - since).toBeLessThan(30_000);
}

describe.concurrent("a watched world", () => {
  test("ends when a rank is killed, with one message for each survivor, even if the survivors ignore the failure", async () => {
    const [first, second, third] = await start(3);
    tell(first, "wait and ignore");
    tell(third, "wait and ignore");
    await sleep(200);
    second!.process.kill("SIGKILL");
    await expectEnds(
      [first, third],
      1,
      /^heddle: rank [02]: world: rank 1 of 3 has ended or lost its connection; all ranks end\n$/,
    );
  });

  test("ends when rank 0 is killed, which all others name", async () => {
    const [first, ...others] = await start(3);
    for (const rank of others) tell(rank, "wait and ignore");
    await sleep(200);
    first!.process.kill("SIGKILL");
    await expectEnds(
      others,
      1,
      /^heddle: rank [12]: world: rank 0 of 3 has ended or lost its connection; all ranks end\n$/,
    );
  });

  test("fails operations at once when a rank is killed, and reports an uncaught error only once", async () => {
    const [first, second, third] = await start(3);
    tell(first, "wait");
    tell(third, "wait");
    await sleep(200);
    const since = performance.now();
    second!.process.kill("SIGKILL");
    await expectEnds(
      [first, third],
      1,
      /^rank [02] of 3: HeddleError: world: rank 1 of 3 has ended or lost its connection\n/,
    );
    expect(performance.now() - since).toBeLessThan(8000);
  });

  test("does not report a lost rank again if the program has reported it, and keeps the program's exit code", async () => {
    const [first, second] = await start(2);
    tell(first, "wait and report");
    await sleep(200);
    second!.process.kill("SIGKILL");
    await expectEnds([first], 2, /^heddle: world: rank 1 of 2 has ended or lost its connection\n$/);
  });

  test("ends when a rank is stopped, and the stopped rank ends too when it continues", async () => {
    const [first, second, third] = await start(3, 3);
    second!.process.kill("SIGSTOP");
    await expectEnds(
      [first, third],
      1,
      /^heddle: rank [02]: world: rank 1 of 3 has sent no heartbeat for 3 s; all ranks end\n$/,
    );
    second!.process.kill("SIGCONT");
    await expectEnds([second], 1, /^heddle: rank 1: world: rank \d of 3 .*; all ranks end\n$/);
  });

  test("ends when rank 0 is stopped", async () => {
    const [first, ...others] = await start(3, 3);
    first!.process.kill("SIGSTOP");
    await expectEnds(
      others,
      1,
      /^heddle: rank [12]: world: rank 0 of 3 has sent no heartbeat for 3 s; all ranks end\n$/,
    );
    first!.process.kill("SIGKILL");
  });

  test("lets ranks that have closed it end at different times, and an ending process closes it", async () => {
    const ranks = await start(4, 6);
    await perform(ranks, "sum");
    await perform([ranks[1]!, ranks[2]!], "close");
    tell(ranks[1], "exit with 3"); // after an abort, for example
    tell(ranks[2], "end");
    tell(ranks[3], "exit");
    expect(await ranks[1]!.ended).toBe(3);
    for (const rank of [ranks[2]!, ranks[3]!]) expect(await rank.ended).toBe(0);
    await sleep(17_000); // longer than silence and grace period
    await perform([ranks[0]!], "close");
    tell(ranks[0], "end");
    expect(await ranks[0]!.ended).toBe(0);
    for (const { stderr } of ranks) expect(stderr).toBe("");
  });

  test("ends when a rank throws after it has closed it, or exits with an error", async () => {
    const [thrown, exited] = await Promise.all([start(3), start(3)]);
    tell(thrown[2], "close and throw");
    tell(exited[2], "exit with 3");
    expect(await thrown[2]!.ended).toBe(1);
    expect(thrown[2]!.stderr).toMatch(/^rank 2 of 3: Error: no space\n/);
    expect(thrown[2]!.stderr.match(/no space/g)).toHaveLength(1);
    expect(await exited[2]!.ended).toBe(3);
    await expectEnds(
      [...thrown.slice(0, 2), ...exited.slice(0, 2)],
      1,
      /^heddle: rank [01]: world: rank 2 of 3 has failed; all ranks end\n$/,
    );
  });

  test("fails the next operation when a rank has closed it early", async () => {
    const [first, second] = await start(2);
    await perform([first!, second!], "sum");
    await perform([second!], "close");
    tell(first, "wait");
    await expectEnds([first], 1, /^rank 0 of 2: HeddleError: world: rank 1 of 2 has ended before the others\n/);
    tell(second, "end");
    expect(await second!.ended).toBe(0);
  });
});
