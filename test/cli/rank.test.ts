// `heddle rank` in a separate process. After a kill at any moment, every vote that it confirmed to the page is stored.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const bin = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-cli-rank-"));
  await using model = tinyModel({ tokenizer: await tinyTokenizer() });
  await model.save(join(folder, "model"));
  await writeFile(join(folder, "prompts.txt"), Array.from({ length: 40 }, (_, i) => `The cat ${i}`).join("\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Started {
  child: ChildProcess;
  url: string;
  first: Record<string, unknown>;
  stdout: () => string;
}

function start(more: readonly string[] = []): Promise<Started> {
  const args = ["rank", "--model", "model", "--prompts", "prompts.txt", "--out", "votes.jsonl", "--max-tokens", "8"];
  const child = spawn(process.execPath, [bin, ...args, "--no-open", "--json", ...more], { cwd: folder });
  let stdout = "";
  return new Promise((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (!stdout.includes("\n")) return;
      const first = JSON.parse(stdout.split("\n")[0]!);
      resolve({ child, url: first.url, first, stdout: () => stdout });
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => reject(new Error(text)));
  });
}

const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once("exit", resolve));

async function state(url: string) {
  for (;;) {
    const now = (await (await fetch(`${url}api/state`)).json()) as {
      judged: number;
      current: { id: number; answers: string[] | null };
    };
    if (now.current.answers) return { ...now, answers: now.current.answers };
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("kill -9 while voting loses no confirmed vote, and the next run continues from there", async () => {
  const path = join(folder, "votes.jsonl");
  let confirmedVotes = 0;
  for (const votes of [3, 5, 2]) {
    const { child, url, first } = await start();
    expect(first).toMatchObject({ total: 40 });
    const before = Number(first.judged);
    expect([confirmedVotes, confirmedVotes + 1]).toContain(before); // the vote in flight at the kill may have been stored
    confirmedVotes = before;
    for (let i = 0; i < votes; i++) {
      const { current } = await state(url);
      const reply = await fetch(`${url}api/vote`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ id: current.id, ranking: [[i % 2], [1 - (i % 2)]] }),
      });
      expect(reply.status).toBe(200);
      confirmedVotes += 1;
    }
    const { current } = await state(url);
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ id: current.id, ranking: [[0], [1]] });
    const pending = fetch(`${url}api/vote`, { method: "POST", headers, body }).catch(() => undefined);
    child.kill("SIGKILL");
    await Promise.all([pending, ended(child)]);
    const rows = (await readFile(path, "utf8")).split("\n").filter(Boolean);
    expect(rows.length).toBeGreaterThanOrEqual(confirmedVotes);
  }
  const { child, url, stdout } = await start();
  const { judged, answers } = await state(url);
  expect(answers).toHaveLength(2);
  child.kill("SIGINT");
  expect(await ended(child)).toBe(0);
  expect(JSON.parse(stdout().trimEnd().split("\n").at(-1)!)).toEqual({ done: true, total: 40, judged, dismissed: 0 });
  const rows = (await readFile(path, "utf8"))
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  expect(rows).toHaveLength(judged);
  expect(new Set(rows.map((r) => JSON.stringify(r.prompt))).size).toBe(judged);
  for (const { chosen, rejected } of rows) expect(chosen).not.toBe(rejected);
});
