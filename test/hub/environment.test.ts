// The environment variables of Hugging Face's tools, and the progress bar of a pull.
import { writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { PullBar } from "../../lib/cli/terminal/pull-bar.ts";
import { WorkProgress } from "../../lib/cli/terminal/work-progress.ts";
import { HeddleError } from "../../lib/core/errors.ts";
import { accessToken, cacheFolder, endpoint, isOffline, requestTimeout } from "../../lib/hub/environment.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { failureOf } from "../inference/helpers.ts";
import "./helpers.ts"; // sets the variables to those of a test server before each test

/** Removes the variables with which helpers.ts chooses the folders, and adds those of a case. */
function set(variables: Record<string, string>): void {
  for (const name of ["HF_HUB_CACHE", "HF_HOME"]) delete process.env[name];
  Object.assign(process.env, variables);
}

test.each<[Record<string, string>, string]>([
  [{}, join(homedir(), ".cache", "huggingface", "hub")],
  [{ XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
  [{ XDG_CACHE_HOME: "/x", HF_HOME: "/h" }, "/h/hub"],
  [{ HF_HOME: "/h", HF_HUB_CACHE: "/c" }, "/c"],
  [{ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old" }, "/old"],
  [{ HF_HUB_CACHE: "", HF_HOME: "~/h" }, join(homedir(), "h", "hub")],
])("%j put the cache at %s", (variables, folder) => {
  set(variables);
  expect(cacheFolder()).toBe(resolve(folder));
});

test("reads offline mode, the timeout and the server's address from the variables of Hugging Face's tools", () => {
  expect(isOffline()).toBe(false);
  for (const value of ["1", "ON", "yes", "True"]) {
    process.env.HF_HUB_OFFLINE = value;
    expect(isOffline(), value).toBe(true);
  }
  process.env.HF_HUB_OFFLINE = "0";
  expect(isOffline()).toBe(false);
  for (const [value, ms] of [
    ["2.5", 2500],
    ["0", 30_000],
    ["x", 30_000],
  ] as const) {
    process.env.HF_HUB_DOWNLOAD_TIMEOUT = value;
    expect(requestTimeout(), value).toBe(ms);
  }
  process.env.HF_ENDPOINT = "https://mirror.example/hub/";
  expect(endpoint()).toBe("https://mirror.example/hub");
  delete process.env.HF_ENDPOINT;
  expect(endpoint()).toBe("https://huggingface.co");
});

test.each(["https://:hunter2@hub.example", "https://me@hub.example", "https://me:hunter2@hub.example/path"])(
  "rejects an address with credentials, and does not show them: %s",
  (address) => {
    process.env.HF_ENDPOINT = address;
    expect(() => endpoint()).toThrow(
      new HeddleError(
        "INVALID_ARGUMENT",
        "HF_ENDPOINT: expected a URL without a name and password, got one with them (set the token in HF_TOKEN instead)",
      ),
    );
  },
);

test.each([
  "ftp://hub.example",
  "hub.example",
  "https://hub.example/?x=1",
  "https://hub.example/?",
  "https://hub.example/#x",
])("rejects an address that is not an http or https URL, or has a query or fragment: %s", (address) => {
  process.env.HF_ENDPOINT = address;
  expect(() => endpoint()).toThrow(
    new HeddleError(
      "INVALID_ARGUMENT",
      "HF_ENDPOINT: expected an http or https URL without a query or fragment, got something else",
    ),
  );
});

test("the error for a token that cannot be sent names its source, and does not show it", async () => {
  const path = join(temporaryFolder(), "token");
  await writeFile(path, "hf_é\n");
  const message = async (given?: string) => (await failureOf(() => accessToken(given))).message;
  const expected = "expected printable ASCII characters without spaces, got other text";
  expect(await message("hf_é")).toBe(`token: ${expected}`);
  expect(await message("")).toBe(`token: ${expected}`);
  process.env.HF_TOKEN_PATH = path;
  expect(await message()).toBe(`${path}: ${expected}`);
  process.env.HUGGING_FACE_HUB_TOKEN = "hf é";
  expect(await message()).toBe(`HUGGING_FACE_HUB_TOKEN: ${expected}`);
  process.env.HF_TOKEN = "hf é";
  expect(await message()).toBe(`HF_TOKEN: ${expected}`);
});

test("the progress bar of a pull shows bytes, speed and time, and fits the terminal", () => {
  const written: string[] = [];
  const stream = { isTTY: true, columns: 80, write: (text: string) => written.push(text) > 0 };
  let now = 0;
  const bar = new PullBar(new WorkProgress(stream as never), () => now);
  bar.update({ loaded: 0, total: 0, isWaiting: true });
  for (now = 1000; now <= 3000; now += 500)
    bar.update({ loaded: now * 1000, total: 4_000_000, file: "model.safetensors" });
  bar.update({ loaded: 4_000_000, total: 4_000_000, file: "a".repeat(100) });
  bar.end();
  const lines = written.join("").split("\r\x1b[2K");
  expect(lines[1]).toBe("waiting for another pull of this model");
  expect(lines.at(-1)).toMatch(/^█{24} 100 % {2}4 MB of 4 MB {2}[\d.]+ MB\/s {2}0:00 left\n$/);
  expect(lines.every((line) => line.trimEnd().length < 80)).toBe(true);
});

test("the progress bar does not show that it waits if all files are empty", () => {
  const written: string[] = [];
  const stream = { isTTY: true, columns: 80, write: (text: string) => written.push(text) > 0 };
  const bar = new PullBar(new WorkProgress(stream as never), () => 0);
  bar.update({ loaded: 0, total: 0 });
  bar.end();
  expect(written.join("")).toContain("0 kB of 0 kB");
  expect(written.join("")).not.toMatch(/waiting|NaN/);
});
