import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readRows } from "../../lib/data/rows.ts";
import { openRanking } from "../../lib/rank/index.ts";
import { readItems } from "../../lib/rank/items.ts";
import { Sampler } from "../../lib/rank/sampler.ts";
import { RankSession } from "../../lib/rank/session.ts";
import { VoteFile } from "../../lib/rank/vote-file.ts";
import { pairsOf } from "../../lib/train/preference/pair-rows.ts";
import { RowEncoder } from "../../lib/train/preference/rows.ts";
import { dpo } from "../../lib/train/stages/dpo.ts";
import { expectError } from "../formats/helpers.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-rank-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let files = 0;
const newFile = (name = "votes.jsonl") => join(folder, `${files++}-${name}`);
const lines = async (path: string) =>
  (await readFile(path, "utf8"))
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));

/** Builds prompts with their answers. */
const promptsWithAnswers = (count: number, answers = 2) =>
  Array.from({ length: count }, (_, id) => ({
    id,
    prompt: `prompt ${id}`,
    answers: Array.from({ length: answers }, (_, a) => `answer ${id}${"abcdef"[a]}`),
  }));
const samplerThatFails = () => new Sampler(() => Promise.reject(new Error("not asked")), { count: 2, seed: 0 });

describe("the file of votes", () => {
  test.runIf(process.platform === "linux")("belongs to one run at a time", async () => {
    const path = newFile();
    const { file } = await VoteFile.open(path);
    await file.append({ a: 1 });
    await appendFile(path, '{"half": "wri'); // a second run must not mistake this for a killed run's row
    await expectError(
      () => VoteFile.open(path),
      "INVALID_ARGUMENT",
      / out: expected a file that no other run writes, got /,
    );
    expect(await readFile(path, "utf8")).toContain('{"half');
    await file.close();
    const { file: next, rows } = await VoteFile.open(path);
    expect(rows).toHaveLength(1);
    await next.close();
  });

  test("appends, removes the last row, and truncates a partial row of a killed process", async () => {
    const path = newFile();
    const { file } = await VoteFile.open(path);
    expect(await file.append({ a: 1 })).toBe(0);
    const second = await file.append({ b: "ü" });
    await file.removeLast(second);
    await file.append({ c: 3 });
    await file.close();
    expect(await lines(path)).toEqual([{ a: 1 }, { c: 3 }]);
    await appendFile(path, '{"d": "cut of');
    const again = await VoteFile.open(path);
    expect(again.rows.map((r) => r.value)).toEqual([{ a: 1 }, { c: 3 }]);
    await again.file.append({ e: 5 });
    await again.file.close();
    expect(await lines(path)).toEqual([{ a: 1 }, { c: 3 }, { e: 5 }]);
    // A whole row without its line break counts as a row.
    await writeFile(path, '{"a":1}');
    const third = await VoteFile.open(path);
    await third.file.append({ b: 2 });
    await third.file.close();
    expect(await readFile(path, "utf8")).toBe('{"a":1}\n{"b":2}\n');
  });

  test("is rejected if it has an invalid row, and is not written once another program has written to it", async () => {
    const path = newFile();
    await writeFile(path, '{"a":1}\nnot JSON\n{"b":2}\n');
    await expectError(() => VoteFile.open(path), "INVALID_FILE", /votes\.jsonl:2: expected a JSON object/);
    await expectError(() => VoteFile.open(join(folder, "none", "x.jsonl")), "NOT_FOUND", /none/);
    const shared = newFile();
    const { file } = await VoteFile.open(shared);
    await appendFile(shared, '{"other":true}\n');
    await expectError(() => file.append({ a: 1 }), "IO", /something else writes to it/);
    await expectError(() => file.removeLast(0), "IO", /something else/);
    await file.close();
    expect(await lines(shared)).toEqual([{ other: true }]);
  });
});

describe("a session", () => {
  test("supports votes, ties, skips and undo, and continues from its file", async () => {
    const path = newFile();
    const session = await RankSession.open(promptsWithAnswers(4), path, samplerThatFails());
    expect(session.state).toMatchObject({ total: 4, judged: 0, canUndo: false, current: { id: 0 } });
    await session.vote(0, [[1], [0]]);
    await session.vote(1, [[0, 1]]);
    expect((await session.skip(2)).current).toMatchObject({ id: 3 });
    await session.vote(3, [[0], [1]]);
    expect(session.state).toMatchObject({ judged: 3, skipped: 1, current: { id: 2 }, canUndo: true });
    const state = await session.undo();
    expect(state).toMatchObject({ judged: 2, current: { id: 3, answers: ["answer 3a", "answer 3b"] } });
    await session.vote(3, [[1], [0]]);
    expect(await lines(path)).toEqual([
      { prompt: "prompt 0", chosen: "answer 0b", rejected: "answer 0a" },
      { prompt: "prompt 1", ranked: [["answer 1a", "answer 1b"]] },
      { prompt: "prompt 3", chosen: "answer 3b", rejected: "answer 3a" },
    ]);
    await session.close();

    const next = await RankSession.open(promptsWithAnswers(4), path, samplerThatFails());
    expect(next.state).toMatchObject({ total: 4, judged: 3, current: { id: 2 }, canUndo: true });
    await next.undo();
    await next.undo();
    expect(next.state).toMatchObject({ judged: 1, current: { id: 1, answers: ["answer 1a", "answer 1b"] } });
    expect(await lines(path)).toHaveLength(1);
    await next.close();
  });

  test("stores a ranking of three answers as one training pair per strict order", async () => {
    const path = newFile();
    const session = await RankSession.open(promptsWithAnswers(3, 3), path, samplerThatFails());
    await session.vote(0, [[2], [0], [1]]);
    await session.vote(1, [[1], [0, 2]]);
    await session.vote(2, [[0, 1, 2]]);
    await session.close();
    const encoder = new RowEncoder(await tinyTokenizer());
    const pairs: number[] = [];
    for await (const row of readRows(path)) pairs.push(pairsOf(row, encoder).length);
    expect(pairs).toEqual([3, 2, 0]);
  });

  test("answers that are all bad, and a dismissed prompt, are stored and give no pair", async () => {
    const path = newFile();
    const session = await RankSession.open(
      [...promptsWithAnswers(2), ...promptsWithAnswers(4, 3).slice(2)],
      path,
      samplerThatFails(),
    );
    await expectError(
      () => session.vote(0, [[0], [1]], { bad: true }),
      "INVALID_ARGUMENT",
      /ranking: expected one group of answers that are all bad, got \[\[0\],\[1\]\]/,
    );
    await session.vote(0, [[0, 1]], { bad: true });
    await session.dismiss(1);
    await session.vote(2, [[0, 1, 2]], { bad: true });
    expect(await session.vote(3, [[0], [1, 2]])).toMatchObject({ judged: 4, dismissed: 1, current: null });
    await session.close();
    expect(await lines(path)).toEqual([
      { prompt: "prompt 0", ranked: [["answer 0a", "answer 0b"]], bad: true },
      { prompt: "prompt 1", dismissed: true, answers: ["answer 1a", "answer 1b"] },
      { prompt: "prompt 2", ranked: [["answer 2a", "answer 2b", "answer 2c"]], bad: true },
      { prompt: "prompt 3", ranked: ["answer 3a", ["answer 3b", "answer 3c"]] },
    ]);
    const encoder = new RowEncoder(await tinyTokenizer());
    const pairs: number[] = [];
    for await (const row of readRows(path)) pairs.push(pairsOf(row, encoder).length);
    expect(pairs).toEqual([0, 0, 0, 2]);
    // Training accepts the file without changes.
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    expect(await dpo(model, { data: path, maxSteps: 1, perDeviceTrainBatchSize: 2 })).toMatchObject({ steps: 1 });
    const again = await RankSession.open(
      [...promptsWithAnswers(2), ...promptsWithAnswers(4, 3).slice(2)],
      path,
      samplerThatFails(),
    );
    expect(again.state).toMatchObject({ judged: 4, dismissed: 1, current: null });
    await again.close();
  });

  test("equal prompts are judged separately, and foreign rows are kept and not undone", async () => {
    const path = newFile();
    const twice = [
      { id: 0, prompt: "p", answers: ["a", "b"] },
      { id: 1, prompt: "p", answers: ["c", "d"] },
    ];
    await writeFile(
      path,
      '{"prompt":"p","chosen":"a","rejected":"b"}\n{"prompt":"foreign","chosen":"x","rejected":"y"}\n',
    );
    const session = await RankSession.open(
      twice.map((i) => ({ ...i })),
      path,
      samplerThatFails(),
    );
    expect(session.state).toMatchObject({ judged: 1, canUndo: false, current: { id: 1 } });
    await session.vote(1, [[0], [1]]);
    await session.undo();
    await expectError(() => session.undo(), "INVALID_ARGUMENT", /no vote to take back/);
    expect(await lines(path)).toHaveLength(2);
    await session.close();
  });

  test("rejects invalid votes, and does not write them", async () => {
    const path = newFile();
    const session = await RankSession.open(promptsWithAnswers(2), path, samplerThatFails());
    for (const ranking of [[], [[0]], [[0], [0]], [[0], [2]], [[0, 1], []], [[0], [1], [1]], [["0"], [1]]])
      await expectError(() => session.vote(0, ranking as number[][]), "INVALID_ARGUMENT", /each of 2 answers once/);
    await expectError(
      () => session.vote(1, [[0], [1]]),
      "INVALID_ARGUMENT",
      /id: expected 0, the current prompt, got 1/,
    );
    // Two presses at once: the second refers to a prompt already judged.
    const both = await Promise.allSettled([session.vote(0, [[0], [1]]), session.vote(0, [[0], [1]])]);
    expect(both.map((r) => r.status)).toEqual(["fulfilled", "rejected"]);
    expect(await lines(path)).toHaveLength(1);
    await session.close();
  });
});

describe("prompts and answers", () => {
  test("sampled answers differ from each other, and are the same in every run", async () => {
    const tokenizer = await tinyTokenizer();
    await using model = tinyModel({ tokenizer });
    const prompts = newFile("prompts.txt");
    await writeFile(prompts, "The cat\nThe dog\n\nThe bird\n");
    const sampled = async () => {
      await using ranking = await openRanking(model, { prompts, out: newFile(), maxTokens: 8, chat: false });
      while (!ranking.state.current?.answers) await new Promise((resolve) => setTimeout(resolve, 5));
      return ranking.state;
    };
    const [a, b] = [await sampled(), await sampled()];
    expect(a.total).toBe(3);
    expect(a.current?.answers).toHaveLength(2);
    expect(a.current!.answers![0]).not.toBe(a.current!.answers![1]);
    expect(b).toEqual(a);
  });

  test("answers fit into a short context if no length is given", async () => {
    await using model = tinyModel({ tokenizer: await tinyTokenizer() }); // of 128 positions
    const prompts = newFile("prompts.txt");
    await writeFile(prompts, "The cat sat.\n");
    await using ranking = await openRanking(model, { prompts, out: newFile(), chat: false });
    await expect.poll(() => ranking.state.current?.answers ?? ranking.state.problem).toHaveLength(2);
  });

  test("a prompt whose answers are all equal is reported as a problem and can be skipped", async () => {
    const sampler = new Sampler(async () => ["same", "same "], { count: 2, seed: 0 });
    const [one] = promptsWithAnswers(1).map(({ id, prompt }) => ({ id, prompt }));
    const session = await RankSession.open([one!, ...promptsWithAnswers(2).slice(1)], newFile(), sampler);
    while (session.state.problem === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(session.state.problem).toContain("expected 2 answers that differ, got 1");
    expect(session.state.current).toMatchObject({ answers: null, sampled: ["same "] });
    expect((await session.skip(0)).current).toMatchObject({ id: 1 });
    await session.close();
  });

  test("`again` samples a prompt with new seeds and keeps the different answers that it already has", async () => {
    const seeds: number[] = [];
    // The ninth try is the first with another answer.
    const sampler = new Sampler(
      async (_, { seed }) => {
        seeds.push(seed);
        return seeds.length < 9 ? ["same"] : ["other"];
      },
      { count: 2, seed: 7 },
    );
    const session = await RankSession.open([{ id: 3, prompt: "p" }], newFile(), sampler);
    const problem = () => expect.poll(() => session.state.problem);
    await problem().toContain("expected 2 answers that differ, got 1 in 4 tries");
    await session.again(3);
    await problem().toContain("got 1 in 8 tries");
    await session.again(3);
    await expect.poll(() => session.state.current!.answers).toEqual(["same", "other"]);
    expect(new Set(seeds).size).toBe(9);
    await expectError(
      () => session.again(3),
      "INVALID_ARGUMENT",
      /again: expected a prompt for which too few answers were found/,
    );
    await session.vote(3, [[1], [0]]);
    expect(session.state).toMatchObject({ judged: 1, current: null });
    await session.close();
  });

  test("a dismissed prompt is written to the file, can be undone, and stays dismissed after a restart", async () => {
    const path = newFile();
    const samplerOfOneAnswer = () => new Sampler(async () => ["same"], { count: 2, seed: 0 });
    const prompts = () => [{ id: 0, prompt: "stuck" }, ...promptsWithAnswers(2).slice(1)];
    const session = await RankSession.open(prompts(), path, samplerOfOneAnswer());
    await expect.poll(() => session.state.problem).toBeDefined();
    expect(await session.dismiss(0)).toMatchObject({ judged: 1, dismissed: 1, current: { id: 1 } });
    expect(await session.undo()).toMatchObject({ judged: 0, dismissed: 0, current: { id: 0, sampled: ["same"] } });
    await session.dismiss(0);
    await session.dismiss(1);
    expect(session.state).toMatchObject({ total: 2, judged: 2, dismissed: 2, current: null });
    await session.close();
    expect(await lines(path)).toEqual([
      { prompt: "stuck", dismissed: true, answers: ["same"] },
      { prompt: "prompt 1", dismissed: true, answers: ["answer 1a", "answer 1b"] },
    ]);
    const next = await RankSession.open(prompts(), path, samplerOfOneAnswer());
    expect(next.state).toMatchObject({ judged: 2, dismissed: 2, current: null });
    expect(await next.undo()).toMatchObject({ dismissed: 1, current: { id: 1, answers: ["answer 1a", "answer 1b"] } });
    await next.close();
  });

  test("prompts of a text file do not begin with its byte-order mark", async () => {
    const path = newFile("prompts.txt");
    await writeFile(path, "\ufeffOnce upon\r\na time\ufeff\n");
    expect((await readItems(path, { chat: false })).map((i) => i.prompt)).toEqual(["Once upon", "a time\ufeff"]);
  });

  test("prompts of every kind are read, and an invalid prompt is reported with its line", async () => {
    const path = newFile("prompts.jsonl");
    const rows = [
      { prompt: "text" },
      { question: "why?" },
      { messages: [{ role: "user", content: "hi" }] },
      { prompt: [{ role: "user", content: "hi" }], answers: ["a", "b", "c"] },
    ];
    await writeFile(path, rows.map((r) => JSON.stringify(r)).join("\n"));
    const user = (content: string) => [{ role: "user", content }];
    expect((await readItems(path, { chat: false })).map((i) => i.prompt)).toEqual([
      "text",
      user("why?"),
      user("hi"),
      user("hi"),
    ]);
    expect((await readItems(path, { chat: true }))[0]!.prompt).toEqual(user("text"));
    for (const [row, message] of [
      [{}, /:1: prompt: expected a string/],
      [{ prompt: "x", answers: ["a"] }, /:1: answers: expected at least two/],
      [{ messages: [{ role: "user" }] }, /:1: prompt\[0\]\.content: expected a string/],
    ] as const) {
      await writeFile(path, JSON.stringify(row));
      await expectError(() => readItems(path, { chat: false }), "INVALID_FILE", message);
    }
    await writeFile(path, "\n");
    await expectError(() => readItems(path, { chat: false }), "INVALID_FILE", /expected at least one prompt/);
    await expectError(
      () => openRanking(undefined, { prompts: path, out: newFile(), numAnswers: 1 }),
      "INVALID_ARGUMENT",
      /numAnswers/,
    );
  });
});

describe("the server", () => {
  const open = async () => {
    const prompts = newFile("prompts.jsonl");
    await writeFile(prompts, JSON.stringify({ prompt: "p", answers: ["a", "b"] }));
    const out = newFile();
    return { ranking: await openRanking(undefined, { prompts, out }), out };
  };
  const call = (
    url: string,
    {
      method = "GET",
      headers = {},
      body = "",
    }: { method?: string; headers?: Record<string, string>; body?: string } = {},
  ) =>
    new Promise<{ status: number; text: string; headers: Record<string, unknown> }>((resolve, reject) => {
      const made = request(url, { method, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        response.on("end", () => resolve({ status: response.statusCode!, text, headers: response.headers }));
      });
      made.on("error", reject);
      made.end(body);
    });

  test("listens on loopback, and rejects foreign hosts and origins, invalid votes, and unknown paths and methods", async () => {
    const { ranking, out } = await open();
    const { url } = ranking;
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    const page = await call(url);
    expect(page.status).toBe(200);
    expect(page.headers["content-security-policy"]).toContain("default-src 'self'");
    const vote = { method: "POST", body: JSON.stringify({ id: 0, ranking: [[0], [1]] }) };
    const json = { "content-type": "application/json" };
    const { port } = new URL(url);
    const refused: [string, Parameters<typeof call>[1], number][] = [
      ["/", { headers: { host: "evil.example" } }, 403],
      ["/api/state", { headers: { host: `evil.example:${port}` } }, 403],
      ["/api/vote", { ...vote, headers: { ...json, host: "evil.example" } }, 403],
      ["/api/vote", { ...vote, headers: { ...json, origin: "https://evil.example" } }, 403],
      ["/api/vote", { ...vote, headers: { "content-type": "text/plain" } }, 415],
      ["/api/vote", { ...vote, headers: json, body: "{" }, 409],
      ["/api/vote", { ...vote, headers: json, body: "[]" }, 409],
      ["/api/vote", { ...vote, headers: json, body: '{"id":0,"ranking":3}' }, 409],
      ["/api/vote", { ...vote, headers: json, body: '{"id":"0","ranking":[[0],[1]]}' }, 409],
      ["/api/vote", { ...vote, headers: json, body: '{"id":0,"ranking":[[0],[1]],"bad":1}' }, 409],
      ["/api/vote", { ...vote, headers: json, body: '{"id":0,"ranking":[[0],[1]],"bad":true}' }, 409],
      ["/api/dismiss", { ...vote, headers: json, body: '{"id":1}' }, 409],
      ["/api/again", { ...vote, headers: json, body: '{"id":0}' }, 409],
      ["/api/vote", { ...vote, headers: json, body: `{"a":"${"x".repeat(70_000)}"}` }, 409],
      ["/api/nothing", { ...vote, headers: json }, 404],
      ["/../package.json", {}, 404],
      ["/api/state", { method: "DELETE" }, 405],
    ];
    for (const [path, options, status] of refused) {
      const reply = await call(url.slice(0, -1) + path, options);
      expect([path, reply.status]).toEqual([path, status]);
      expect(JSON.parse(reply.text).error.message).toBeTruthy();
    }
    expect(await readFile(out, "utf8")).toBe("");
    const kept = await call(`${url}api/vote`, {
      ...vote,
      headers: { ...json, host: `localhost:${port}`, origin: url.slice(0, -1) },
    });
    expect(kept.status).toBe(200);
    expect(JSON.parse(kept.text)).toMatchObject({ judged: 1, current: null });
    expect(await lines(out)).toEqual([{ prompt: "p", chosen: "a", rejected: "b" }]);
    await ranking.close();
  });

  test("rejects an unknown option and invalid paths", async () => {
    const refuses = (options: unknown, message: RegExp) =>
      expectError(() => openRanking(undefined, options as never), "INVALID_ARGUMENT", message);
    await refuses(undefined, /options: expected an object, got undefined/);
    await refuses({ prompt: "p.jsonl", out: "o" }, /prompt: expected a known option \(nearest: prompts\)/);
    await refuses({ prompts: 5, out: "o" }, /prompts: expected a path, got 5/);
    await refuses({ prompts: "p.jsonl" }, /out: expected a path, got undefined/);
  });

  test("rejects a port in use and names it", async () => {
    const { ranking } = await open();
    const prompts = newFile("prompts.jsonl");
    await writeFile(prompts, JSON.stringify({ prompt: "p", answers: ["a", "b"] }));
    const port = Number(new URL(ranking.url).port);
    await expectError(
      () => openRanking(undefined, { prompts, out: newFile(), port }),
      "IO",
      /expected a free port, got EADDRINUSE/,
    );
    await ranking.close();
  });
});
