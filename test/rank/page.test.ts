// The page on which a person ranks answers, in a real browser and mostly by its keys.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page, Route } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openRanking, type Ranking } from "../../lib/rank/index.ts";
import { readItems } from "../../lib/rank/items.ts";
import { Sampler } from "../../lib/rank/sampler.ts";
import { serveRanking } from "../../lib/rank/server.ts";
import { RankSession } from "../../lib/rank/session.ts";
import { hasBrowser, openBrowser } from "../helpers/browser.ts";

describe.skipIf(!hasBrowser)("the page", () => {
  let browser: Browser;
  let folder: string;
  let page: Page;
  let ranking: Ranking;
  let out: string;
  let complaints: string[];
  /** Handles the next vote instead of the server. */
  let onVote: ((route: Route) => Promise<void>) | undefined;
  let round = 0;

  beforeAll(async () => {
    browser = await openBrowser();
    folder = await mkdtemp(join(tmpdir(), "heddle-page-"));
  });
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function start(answers = 2, count = 5): Promise<void> {
    const prompts = join(folder, `prompts-${round}.jsonl`);
    const rows = Array.from({ length: count }, (_, id) => ({
      prompt: [{ role: "user", content: `Question ${id}, with <b>mark-up</b> & signs?` }],
      answers: Array.from({ length: answers }, (_, a) => `Answer ${id}${"abc"[a]}.`),
    }));
    await writeFile(prompts, rows.map((r) => JSON.stringify(r)).join("\n"));
    ranking = await openRanking(undefined, { prompts, out });
    await page.goto(ranking.url);
    await prompt(0);
  }

  beforeEach(async () => {
    round += 1;
    out = join(folder, `votes-${round}.jsonl`);
    page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
    // Route requests before the page is loaded. Later routing may miss a request that follows at once.
    onVote = undefined;
    await page.route("**/api/vote", (route) => {
      const answer = onVote ?? ((other: Route) => other.continue());
      onVote = undefined;
      return answer(route);
    });
    complaints = [];
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
  });
  afterEach(async () => {
    await page.close();
    await ranking.close();
    expect(complaints).toEqual([]);
  });

  // A key is ignored while a judgement is in flight, so wait for the last reply.
  const prompt = (id: number | "done") => page.waitForSelector(`body[data-prompt="${id}"]:not([aria-busy="true"])`);
  const votes = async () =>
    (await readFile(out, "utf8"))
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  const press = async (key: string, next: number | "done") => {
    await page.keyboard.press(key);
    await prompt(next);
  };

  test("supports votes, a tie, skip, undo and finishing by keyboard", async () => {
    await start();
    expect(await page.textContent("#prompt .text")).toBe("Question 0, with <b>mark-up</b> & signs?");
    expect(await page.locator("button.answer .text").allTextContents()).toEqual(["Answer 0a.", "Answer 0b."]);
    expect(await page.textContent("#count")).toBe("0 of 5");
    await press("2", 1);
    expect(await votes()).toEqual([expect.objectContaining({ chosen: "Answer 0b.", rejected: "Answer 0a." })]);
    await press("t", 2);
    await press("s", 3);
    expect(await page.textContent("#count")).toBe("2 of 5, 1 put off");
    await press("1", 4);
    await press("u", 3);
    expect(await votes()).toHaveLength(2);
    await press("2", 4);
    await press("1", 2);
    await press("ArrowRight", 2); // the only one left is shown again at once
    await press("1", "done");
    expect(await page.textContent("#answers")).toContain("All judged");
    expect((await votes()).map((v) => v.chosen)).toEqual([
      "Answer 0b.",
      undefined,
      "Answer 3b.",
      "Answer 4a.",
      "Answer 2a.",
    ]);
    await press("Backspace", 2);
    expect(await votes()).toHaveLength(4);
  });

  test("a reload stays at the prompt and loses nothing", async () => {
    await start();
    await press("1", 1);
    await press("2", 2);
    await page.reload();
    await prompt(2);
    expect(await page.textContent("#count")).toBe("2 of 5");
    // Reload while a vote is in flight: it is either kept or not sent.
    await page.keyboard.press("1");
    await page.reload();
    await page.waitForSelector("body[data-prompt]");
    // The vote may reach the disk after the page has asked for the next prompt. The page of the next reload then knows of it.
    await new Promise((resolve) => setTimeout(resolve, 500));
    await page.reload();
    await page.waitForSelector("body[data-prompt]");
    const shown = Number(await page.getAttribute("body", "data-prompt"));
    expect(await votes()).toHaveLength(shown);
    await press("u", shown - 1);
    expect(await votes()).toHaveLength(shown - 1);
  });

  test("a held key judges one prompt, and presses faster than the disk judge no prompt twice", async () => {
    await start(2, 8);
    await page.evaluate(
      `for (let i = 0; i < 20; i++) document.dispatchEvent(new KeyboardEvent("keydown", { key: "1", repeat: i > 0 }))`,
    );
    await prompt(1);
    for (let i = 0; i < 3; i++) await page.keyboard.press("1");
    await expect.poll(() => votes()).toSatisfy((v: unknown[]) => v.length >= 2);
    const prompts = (await votes()).map((v) => v.prompt[0].content);
    expect(new Set(prompts).size).toBe(prompts.length);
  });

  test("ranks three answers best first, can undo a pick, and counts the rest as equal", async () => {
    await start(3);
    await page.keyboard.press("2");
    expect(await page.locator("button.answer.picked .rank").allTextContents()).toEqual(["best"]);
    await page.keyboard.press("u");
    expect(await page.locator("button.answer.picked").count()).toBe(0);
    await page.keyboard.press("3");
    await press("1", 1);
    await page.keyboard.press("2");
    await press("Enter", 2);
    await press("0", 3);
    expect((await votes()).map((v) => v.ranked)).toEqual([
      ["Answer 0c.", "Answer 0a.", "Answer 0b."],
      ["Answer 1b.", ["Answer 1a.", "Answer 1c."]],
      [["Answer 2a.", "Answer 2b.", "Answer 2c."]],
    ]);
  });

  test("works with the mouse and by keyboard focus, and reports votes that cannot be stored", async () => {
    await start();
    await page.click("button.answer:nth-child(2)");
    await prompt(1);
    await page.click("#tie");
    await prompt(2);
    await page.focus("button.answer");
    await page.keyboard.press("Enter");
    await prompt(3);
    expect((await votes()).map((v) => v.chosen)).toEqual(["Answer 0b.", undefined, "Answer 2a."]);
    await writeFile(out, "", { flag: "w" }); // another program empties the file
    await page.keyboard.press("1");
    await page.locator("#notice", { hasText: "something else writes" }).waitFor();
    expect(await page.locator("button.answer.picked").count()).toBe(0); // the vote was not stored, so no answer stays picked
    complaints = complaints.filter((c) => !c.includes("500"));
  });

  test("a vote that was not stored can be repeated, a lost reply loses no vote, and a server that has ended is reported", async () => {
    await start();
    const full = (route: Route) =>
      route.fulfill({ status: 500, json: { error: { message: "no space left on the disk" } } });
    for (const key of ["1", "2"]) {
      onVote = full;
      await page.keyboard.press("1");
      await page.locator("#notice", { hasText: "Not kept: no space left on the disk" }).waitFor();
      const now = (await votes()).length;
      await prompt(now);
      await press(key, now + 1);
    }
    expect((await votes()).map((v) => v.chosen)).toEqual(["Answer 0a.", "Answer 1b."]);
    // The vote is stored, but its reply is lost: the next prompt comes, and no loss is reported.
    onVote = async (route) => {
      await route.fetch();
      await route.abort();
    };
    await press("1", 3);
    expect(await votes()).toHaveLength(3);
    expect(await page.textContent("#notice")).toBe("");
    expect(onVote).toBeUndefined();
    // The server is gone.
    await ranking.close();
    await page.keyboard.press("1");
    await page.locator("#notice", { hasText: "The program behind this page has ended." }).waitFor();
    complaints = complaints.filter((c) => !/500|ERR_FAILED|ERR_CONNECTION_REFUSED/.test(c));
  });

  test("keys and notices stay in view with long answers, on a phone too", async () => {
    const prompts = join(folder, "long.jsonl");
    await writeFile(prompts, JSON.stringify({ prompt: "p", answers: ["a ".repeat(5000), "b ".repeat(5000)] }));
    ranking = await openRanking(undefined, { prompts, out });
    for (const [width, height] of [
      [1200, 800],
      [375, 667],
    ] as const) {
      await page.setViewportSize({ width, height });
      await page.goto(ranking.url);
      await prompt(0);
      onVote = (route) => route.fulfill({ status: 500, json: { error: { message: "full" } } });
      await page.keyboard.press("1");
      const box = await page.locator("#notice", { hasText: "Not kept: full" }).boundingBox();
      expect(box!.y + box!.height).toBeLessThanOrEqual(height);
      const keys = await page.locator("footer").boundingBox();
      expect(keys!.y + keys!.height).toBeLessThanOrEqual(height + 1);
      expect(keys!.height).toBeLessThan(height / 4);
    }
    complaints = complaints.filter((c) => !c.includes("500"));
  });

  test('"both bad" is a vote by key and by mouse; with three answers it means all bad', async () => {
    await start();
    await press("b", 1);
    await page.click("#bad");
    await prompt(2);
    expect(await page.textContent("#bad")).toBe("B both bad");
    expect(await votes()).toEqual([
      expect.objectContaining({ ranked: [["Answer 0a.", "Answer 0b."]], bad: true }),
      expect.objectContaining({ ranked: [["Answer 1a.", "Answer 1b."]], bad: true }),
    ]);
    await press("u", 1);
    expect(await votes()).toHaveLength(1);
    await ranking.close();
    out = join(folder, "all-bad.jsonl");
    round += 1;
    await start(3);
    expect(await page.textContent("#bad")).toBe("B all bad");
    await press("b", 1);
    expect((await votes())[0]).toMatchObject({ bad: true });
    complaints = complaints.filter((c) => !c.includes("ERR_CONNECTION_REFUSED"));
  });

  test("a prompt with equal answers can be sampled again or dismissed, and the page reaches its end", async () => {
    const prompts = join(folder, "coincide.jsonl");
    await writeFile(prompts, '{"prompt":"p"}\n{"prompt":"q","answers":["a","b"]}\n');
    let answers = ["the same"];
    const sampler = new Sampler(async () => answers, { count: 2, seed: 0 });
    const session = await RankSession.open(await readItems(prompts, { chat: false }), out, sampler);
    const server = await serveRanking(session);
    ranking = { url: server.url, state: session.state, close: () => server.close().then(() => session.close()) };
    await page.goto(server.url);
    const stuck = page.locator("#notice", { hasText: "got 1 in 4 tries" });
    await stuck.waitFor();
    expect(await page.locator("#answers .answer").allTextContents()).toEqual(["the same"]);
    expect(await page.locator("footer button:visible").allTextContents()).toEqual([
      "R sample again",
      "S skip",
      "D dismiss",
      "U undo",
    ]);
    await page.keyboard.press("1");
    await page.keyboard.press("b");
    await page.keyboard.press("r");
    await page.locator("#notice", { hasText: "got 1 in 8 tries" }).waitFor();
    expect(await votes()).toEqual([]);
    await press("d", 1);
    expect(await page.textContent("#count")).toBe("1 of 2, 1 dismissed");
    await press("u", 0);
    answers = ["another"];
    await page.click("#again");
    await page.locator("button.answer", { hasText: "another" }).waitFor();
    await press("2", 1);
    await press("d", "done");
    expect(await page.textContent("#count")).toBe("2 of 2, 1 dismissed");
    expect(await votes()).toEqual([
      { prompt: "p", chosen: "another", rejected: "the same" },
      { prompt: "q", dismissed: true, answers: ["a", "b"] },
    ]);
  });

  test("ignores keys until a prompt has answers", async () => {
    const prompts = join(folder, "waiting.jsonl");
    await writeFile(prompts, JSON.stringify({ prompt: "p" }));
    ranking = await openRanking(undefined, { prompts, out });
    await page.goto(ranking.url);
    await page.locator("#notice", { hasText: "to sample answers" }).waitFor();
    await page.keyboard.press("1");
    await page.keyboard.press("t");
    expect(await votes()).toEqual([]);
  });
});
