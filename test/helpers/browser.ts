import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const path = "/usr/bin/chromium";

/** A real Chromium, or undefined where there is none. */
export const hasBrowser = existsSync(path);

if (!hasBrowser) console.warn(`${path} does not exist: the tests that need a browser are skipped`);

export function openBrowser(): Promise<Browser> {
  // Root, as in a container, cannot use its sandbox; the pages are our own.
  return chromium.launch({ executablePath: path, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
}
