import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderRunReport } from "../../lib/report/run/report.ts";
import { readRuns } from "../../lib/report/run/run-data.ts";
import { hasBrowser, openBrowser } from "../helpers/browser.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-run-report-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a run with invented numbers. */
function writeRun(name: string, { steps, metric }: { steps: number; metric: string }): string {
  const dir = mkdtempSync(join(folder, "run-"));
  const lines = Array.from({ length: steps }, (_, i) => {
    const at = { step: i + 1, maxSteps: steps, seconds: i };
    const loss = 1 + 3 * Math.exp((-5 * i) / steps) + 0.1 * Math.sin(7 * i);
    const train = {
      ...at,
      loss,
      learningRate: 1e-3,
      gradNorm: i === 9 ? 1e9 : 1,
      tokensPerSecond: 1000,
      tokensSeen: i,
    };
    const held = { ...at, evalLoss: loss + 0.2, tokens: 5 };
    return [{ ...train, metrics: { [metric]: i } }, ...(i % 10 === 9 ? [held] : [])].map(
      (e) => `${JSON.stringify(e)}\n`,
    );
  });
  writeFileSync(join(dir, "log.jsonl"), lines.flat().join(""));
  writeFileSync(join(dir, "model_card.json"), JSON.stringify({ stage: "grpo", name, notes: "<b>notes</b>" }));
  return dir;
}

const hostile = "<img src=x onerror=alert(1)></script>";
const one = writeRun(hostile, { steps: 900, metric: hostile });
const other = writeRun("other", { steps: 40, metric: "reward" });
const single = renderRunReport(await readRuns([one]));
const several = renderRunReport(await readRuns([one, other]));

describe("the report of training runs", () => {
  it("is one file without external references", () => {
    for (const html of [single, several]) {
      expect(html.match(/<(?:link|img|iframe|script)\b[^>]*\b(?:src|href)=|@import|\burl\(/g) ?? []).toEqual([]);
      expect(html).toContain("default-src 'none'");
    }
  });

  it("escapes names of metrics and models", () => {
    expect(single).not.toContain("<img");
    expect(single).not.toContain("<b>notes");
    expect(single.match(/<\/script>/g)).toHaveLength(single.match(/<script/g)!.length);
  });

  it("describes each chart in words, and names a value outside its range", () => {
    expect(single.includes("highest value 1e9, above the chart")).toBe(true);
    expect(single).toMatch(/aria-label="Loss\. training: from 4 at step 1 to [\d.]+ at step 900, lowest/);
  });
});

describe.skipIf(!hasBrowser)("the report of training runs in Chromium", () => {
  let browser: Browser;
  beforeAll(async () => {
    writeFileSync(join(folder, "single.html"), single);
    writeFileSync(join(folder, "several.html"), several);
    browser = await openBrowser();
  });
  afterAll(() => browser?.close());

  async function open(
    name: string,
    width: number,
    colorScheme: "light" | "dark",
  ): Promise<{ page: Page; problems: string[] }> {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
    const problems: string[] = [];
    page.on("console", (message) => problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("request", (request) => request.url().startsWith("file:") || problems.push(request.url()));
    await page.goto(pathToFileURL(join(folder, `${name}.html`)).href);
    const missing = "document.querySelectorAll('[data-chart]:not([data-drawn])').length";
    await expect.poll(() => page.evaluate(missing), { timeout: 30_000 }).toBe(0);
    return { page, problems };
  }

  it.each([
    { name: "single", width: 1280, colorScheme: "light" as const, charts: 5 },
    { name: "single", width: 390, colorScheme: "dark" as const, charts: 5 },
    { name: "several", width: 1280, colorScheme: "dark" as const, charts: 6 },
    { name: "several", width: 390, colorScheme: "light" as const, charts: 6 },
  ])(
    "draws every chart of $name at $width pixels, $colorScheme",
    async ({ name, width, colorScheme, charts }) => {
      const { page, problems } = await open(name, width, colorScheme);
      const colors = await page.evaluate<
        number[]
      >(`[...document.querySelectorAll("[data-chart] canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    })`);
      expect(colors).toHaveLength(charts);
      for (const count of colors) expect(count).toBeGreaterThan(8);
      expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0);
      expect(problems).toEqual([]);
      await page.close();
    },
    60_000,
  );

  it("reads out the values of a chart with the arrow keys", async () => {
    const { page, problems } = await open("single", 1280, "light");
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.dataset.chart")).toBe("chart0");
    const reading = page.locator(".reading").first();
    await page.keyboard.press("End");
    await expect.poll(() => reading.textContent()).toMatch(/^step 900: training [\d.]+, held-out [\d.]+$/);
    await page.keyboard.press("Home");
    await expect.poll(() => reading.textContent()).toMatch(/^step 2: training 4/);
    await page.keyboard.press("ArrowRight");
    await expect.poll(() => reading.textContent()).toMatch(/^step 4: /);
    await page.keyboard.press("Tab");
    await expect.poll(() => reading.textContent()).toBe("");
    await page.keyboard.press("Enter");
    await expect.poll(() => page.locator("details").first().getAttribute("open")).toBe("");
    expect(problems).toEqual([]);
    await page.close();
  }, 60_000);
});
