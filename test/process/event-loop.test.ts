// Compute never keeps the event loop or libuv's pool: whatever heddle does, timers and files get their turn.
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { temporaryFolder } from "../formats/helpers.ts";
import { sentences } from "../generate/helpers.ts";
import { leastOf } from "../helpers/clock.ts";

const script = fileURLToPath(new URL("event-loop.mjs", import.meta.url));

/** Longest of a turn: some thousand texts that are passed on (27 ms), doubled for slower processors, and what a garbage collection takes. */
const MOST_MS = 100;

test.skipIf(!existsSync("/proc/self/schedstat"))(
  "no work keeps the event loop, or libuv's only thread",
  async () => {
    const text = Array.from({ length: 80 }, (_, i) => sentences.map((s) => `${s} ${i * 7919}.`).join("\n")).join("\n");
    const env = { ...process.env, UV_THREADPOOL_SIZE: "1" };
    const longestOfAll = () => {
      const folder = temporaryFolder();
      writeFileSync(join(folder, "text.txt"), text);
      const { stdout, stderr, status } = spawnSync(process.execPath, [script, folder], { env, encoding: "utf8" });
      expect(status, stderr).toBe(0);
      const said: Record<string, { longest: number; reads: number }> = JSON.parse(stdout.trim().split("\n").at(-1)!);
      console.log(said);
      expect(Object.keys(said)).toHaveLength(19);
      // Behind compute on the one thread of the pool, none would end before it.
      for (const [work, { reads }] of Object.entries(said)) expect(reads, work).toBeGreaterThan(10);
      return Math.max(...Object.values(said).map(({ longest }) => longest));
    };
    expect(await leastOf(MOST_MS, longestOfAll, 4)).toBeLessThan(MOST_MS);
  },
  300_000,
);
