// heddle serve in a separate process.
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { afterEach, describe, expect, test } from "vitest";
import { heddle, model, refused, start } from "./tiny.ts";

interface Started {
  child: ChildProcessWithoutNullStreams;
  first: { url: string; model: string };
  stdout(): string;
  stderr(): string;
  ended: Promise<{ code: number | null; signal: string | null }>;
}

const running: ChildProcessWithoutNullStreams[] = [];
afterEach(() => {
  for (const child of running.splice(0)) child.kill("SIGKILL");
});

async function startServer(more: readonly string[] = []): Promise<Started> {
  const child = start(["serve", "--model", model, "--port", "0", "--json", ...more]);
  running.push(child);
  let [stdout, stderr] = ["", ""];
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once("close", (code, signal) => resolve({ code, signal })),
  );
  await new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (stdout.includes("\n")) resolve();
    });
    ended.then(() => reject(new Error(stderr)));
  });
  return { child, first: JSON.parse(stdout.split("\n")[0]!), stdout: () => stdout, stderr: () => stderr, ended };
}

function post(url: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
  const init = {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  };
  return fetch(`${url}/v1/completions`, init);
}

describe.each(["SIGINT", "SIGTERM"] as const)("a server that gets %s", (signal) => {
  test("finishes running answers, then exits with code 0", async () => {
    const { child, first, stdout, stderr, ended } = await startServer(["--log", "--max-concurrent", "2"]);
    expect(first).toEqual({ url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/), model: "model" });
    const body = { prompt: "The cat", temperature: 0, ignore_eos: true, max_tokens: 20, stream: true };
    const answer = await post(first.url, body);
    const text = answer.text();
    child.kill(signal);
    expect((await text).endsWith("data: [DONE]\n\n")).toBe(true);
    expect(await ended).toEqual({ code: 0, signal: null });
    expect(stdout().trimEnd().split("\n")).toHaveLength(1);
    expect(stderr()).toContain(`Serving model at ${first.url}/v1`);
    expect(stderr()).toMatch(/ POST \/v1\/completions 200, \d+ ms, \d+ \+ 20 tokens\n/);
    await expect(fetch(first.url)).rejects.toThrow();
  });
});

test("a second signal ends the server at once", async () => {
  const { child, first, ended } = await startServer(["--context-length", "128"]);
  // A request with an unfinished body keeps the server waiting.
  const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("{")) });
  const init = { method: "POST", body, duplex: "half", headers: { "content-type": "application/json" } };
  const asked = fetch(`${first.url}/v1/completions`, init as RequestInit).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 300));
  child.kill("SIGINT");
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(child.exitCode).toBeNull();
  child.kill("SIGINT");
  expect(await ended).toEqual({ code: 130, signal: null });
  await asked;
});

test("the server accepts API keys from the command line or the environment, and never prints them", async () => {
  const check = async ({ first, stdout, stderr }: Started, keys: readonly string[]) => {
    const ask = async (key?: string) =>
      (await fetch(`${first.url}/v1/models`, key ? { headers: { authorization: `Bearer ${key}` } } : {})).status;
    expect([await ask(), await ask("other")]).toEqual([401, 401]);
    for (const key of keys) {
      expect(await ask(key)).toBe(200);
      expect(stdout() + stderr()).not.toContain(key);
    }
  };
  await check(await startServer(["--log", "--api-key", "first-key", "--api-key", "second-key"]), [
    "first-key",
    "second-key",
  ]);
  const before = process.env.HEDDLE_API_KEY;
  process.env.HEDDLE_API_KEY = "third-key,fourth-key";
  try {
    await check(await startServer(["--log"]), ["third-key", "fourth-key"]);
  } finally {
    if (before === undefined) delete process.env.HEDDLE_API_KEY;
    else process.env.HEDDLE_API_KEY = before;
  }
});

test("heddle serve passes its options to the server", async () => {
  const { first } = await startServer([
    ...["--model-name", "mine", "--max-tokens", "3", "--max-choices", "2", "--max-queue", "1", "--deterministic"],
    ...["--allowed-host", "models.example", "--allowed-host", "127.0.0.1", "--allowed-origin", "https://app.example"],
  ]);
  expect(first.model).toBe("mine");
  const body = { prompt: "The", max_tokens: 9, ignore_eos: true };
  const answer = await post(first.url, body, { origin: "https://app.example" });
  expect(await answer.json()).toMatchObject({ usage: { completion_tokens: 3 } });
  expect((await post(first.url, { ...body, n: 3 })).status).toBe(400);
  expect((await post(first.url, body, { origin: "https://b.example" })).status).toBe(403);
});

test("heddle serve rejects invalid options, models and ports", async () => {
  expect(await refused(["serve", "--model", model, "--host", "0.0.0.0"])).toMatch(
    /--host: expected the loopback interface/,
  );
  expect(await refused(["serve", "--model", model, "--port", "70000"])).toMatch(/--port: /);
  expect(await refused(["serve", "--model", model, "--max-concurrent", "0"])).toMatch(/--max-concurrent: /);
  const secret = await refused(["serve", "--model", model, "--api-key", "my secret"]);
  expect(secret).toMatch(/--api-key: /);
  expect(secret).not.toContain("secret");
  expect(await refused(["serve", "--model", "nowhere"])).toMatch(/nowhere/);
  const { first } = await startServer();
  expect(await refused(["serve", "--model", model, "--port", new URL(first.url).port])).toMatch(/--port: .*EADDRINUSE/);
  const { code, stdout } = await heddle(["serve", "--help"]);
  expect([code, stdout]).toEqual([0, expect.stringContaining("--allow-without-key")]);
});
