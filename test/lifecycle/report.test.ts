import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { shownChange } from "../../lib/lifecycle/report/names.ts";
import { renderReport } from "../../lib/lifecycle/report/report.ts";
import { exampleReport } from "./example-report.ts";

const browserPath = process.env.HEDDLE_CHROMIUM ?? "/usr/bin/chromium";
const hasBrowser = existsSync(browserPath);
if (!hasBrowser)
  console.warn(`No ${browserPath} (HEDDLE_CHROMIUM names another): the tests of the report in a browser are skipped.`);

const html = renderReport(exampleReport());

/** Polls a condition. page.waitForFunction evaluates text within the page, which the page's Content Security Policy forbids. */
async function until(page: Page, condition: string): Promise<void> {
  await expect.poll(() => page.evaluate(condition), { timeout: 30_000 }).toBe(true);
}

describe("the report's text", () => {
  it("is one file without external references", () => {
    expect(html.match(/<(?:link|img|iframe|script)\b[^>]*\b(?:src|href)=|@import|\burl\(/g) ?? []).toEqual([]);
    // uPlot's license notice contains its URL.
    expect(html.match(/https?:[^\s"'<]+/g) ?? []).toEqual(["https://github.com/leeoniya/uPlot"]);
    expect(html.includes("default-src 'none'")).toBe(true);
  });

  it("escapes text written by models", () => {
    expect(html.includes("<img src=x")).toBe(false);
    expect(html.includes("<b>Japan</b>")).toBe(false);
    expect(html.match(/<\/script>/g)).toHaveLength(html.match(/<script/g)!.length);
  });
});

it("the report shows the sign of a change unless it rounds to zero", () => {
  expect(shownChange("bitsPerByte", -1.234)).toBe("−1.23");
  expect(shownChange("bitsPerByte", 0.006)).toBe("+0.01");
  expect(shownChange("bitsPerByte", -0.004)).toBe("0.00");
  expect(shownChange("ece", -0.0004)).toBe("0.000");
  expect(shownChange("ece", -0.004)).toBe("−0.004");
  expect(shownChange("exactMatch", 0.0004)).toBe("0.0 points");
  expect(shownChange("exactMatch", 0.5)).toBe("+50.0 points");
});

describe.skipIf(!hasBrowser)("the report in Chromium", () => {
  let browser: Browser;
  const folder = mkdtempSync(join(tmpdir(), "heddle-report-"));
  const file = join(folder, "report.html");

  beforeAll(async () => {
    writeFileSync(file, html);
    browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([
    { name: "wide", width: 1280, colorScheme: "light" as const },
    { name: "phone", width: 375, colorScheme: "dark" as const },
  ])(
    "$name, $colorScheme: has no errors, draws every figure, and nothing overflows",
    async ({ name, width, colorScheme }) => {
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
      const problems: string[] = [];
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
      page.on("pageerror", (error) => problems.push(String(error)));
      page.on("request", (request) => request.url().startsWith("file:") || problems.push(request.url()));
      await page.goto(pathToFileURL(file).href);
      await until(page, "document.querySelectorAll('[data-chart]:not([data-drawn])').length === 0");

      // Every canvas has pixels of more than one color.
      const canvases = await page.evaluate<
        number[]
      >(`[...document.querySelectorAll("[data-chart] canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    })`);
      expect(canvases).toHaveLength(8);
      for (const colors of canvases) expect(colors).toBeGreaterThan(8);

      const bars = await page.evaluate<number[]>(
        `[...document.querySelectorAll(".bar")].map((bar) => bar.getBoundingClientRect().width)`,
      );
      expect(bars.length).toBeGreaterThan(30);
      expect(Math.max(...bars)).toBeGreaterThan(40);
      const tokens = await page.evaluate<string[]>(
        `[...document.querySelectorAll(".token")].map((t) => getComputedStyle(t).backgroundColor)`,
      );
      expect(new Set(tokens).size).toBe(6);
      expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0);
      if (process.env.HEDDLE_SCREENSHOTS)
        await page.screenshot({ path: join(process.env.HEDDLE_SCREENSHOTS, `${name}.png`), fullPage: true });
      expect(problems).toEqual([]);
      await page.close();
    },
    60_000,
  );

  it("leaves at least 16 pixels between the cards and the note of a quick run", async () => {
    const data = exampleReport();
    const quick = join(folder, "quick.html");
    writeFileSync(quick, renderReport({ ...data, plan: { ...data.plan, quick: true } }));
    for (const width of [375, 1280]) {
      const page = await browser.newPage({ viewport: { width, height: 900 } });
      await page.goto(pathToFileURL(quick).href);
      const [cards, note] = await page.evaluate<number[]>(
        `[document.querySelector(".cards").getBoundingClientRect().bottom, document.querySelector(".note").getBoundingClientRect().top]`,
      );
      expect(note! - cards!).toBeGreaterThanOrEqual(16);
      await page.close();
    }
  });

  it("is redrawn for another width", async () => {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await page.goto(pathToFileURL(file).href);
    await until(page, "document.querySelectorAll('[data-chart]:not([data-drawn])').length === 0");
    await page.setViewportSize({ width: 500, height: 900 });
    await until(page, "[...document.querySelectorAll('[data-chart] canvas')].every((c) => c.clientWidth <= 500)");
    await page.close();
  });
});
