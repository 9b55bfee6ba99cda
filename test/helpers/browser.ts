import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const path = "/usr/bin/chromium";

/** Whether Chromium is installed. */
export const hasBrowser = existsSync(path);

if (!hasBrowser) console.warn(`${path} does not exist: the tests that need a browser are skipped`);

export function openBrowser(): Promise<Browser> {
  // Chromium's sandbox does not work as root, as in containers. The pages are trusted.
  return chromium.launch({ executablePath: path, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
}
