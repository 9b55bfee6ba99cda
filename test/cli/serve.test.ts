// heddle serve in a separate process.
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { folder, heddle, model, refused, start } from "./tiny.ts";

interface Started {
  child: ChildProcessWithoutNullStreams;
  first: { url: string; model: string; models: string[] };
  stdout(): string;
  stderr(): string;
  ended: Promise<{ code: number | null; signal: string | null }>;
}

const running: ChildProcessWithoutNullStreams[] = [];
afterEach(() => {
  for (const child of running.splice(0)) child.kill("SIGKILL");
});

async function startServer(more: readonly string[] = [], served = model): Promise<Started> {
  const child = start(["serve", "--model", served, "--port", "0", "--json", ...more]);
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
    expect(first).toEqual({
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      model: "model",
      models: ["model"],
    });
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

test("a server that stops ends requests that take longer than --close-timeout", async () => {
  const { child, first, ended } = await startServer(["--close-timeout", "0.1"]);
  const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("{")) });
  const init = { method: "POST", body, duplex: "half", headers: { "content-type": "application/json" } };
  const asked = fetch(`${first.url}/v1/completions`, init as RequestInit).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = performance.now();
  child.kill("SIGTERM");
  expect(await ended).toEqual({ code: 0, signal: null });
  // This is less than the default of --close-timeout, which is 10 seconds.
  expect(performance.now() - before).toBeLessThan(8000);
  await asked;
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
    ...["--alias", "gpt-4o", "--alias", "gpt-4o-mini"],
    ...["--allowed-host", "models.example", "--allowed-host", "127.0.0.1", "--allowed-origin", "https://app.example"],
  ]);
  expect(first.model).toBe("mine");
  const body = { model: "gpt-4o-mini", prompt: "The", max_tokens: 9, ignore_eos: true };
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
  for (const seconds of ["-1", "2147484"])
    expect(await refused(["serve", "--model", model, "--close-timeout", seconds])).toBe(
      `heddle: --close-timeout: expected a number from 0 to 2147483, got ${seconds}\n`,
    );
  const secret = await refused(["serve", "--model", model, "--api-key", "my secret"]);
  expect(secret).toMatch(/--api-key: /);
  expect(secret).not.toContain("secret");
  expect(await refused(["serve", "--model", "nowhere"])).toMatch(/nowhere/);
  const { first } = await startServer();
  expect(await refused(["serve", "--model", model, "--port", new URL(first.url).port])).toMatch(/--port: .*EADDRINUSE/);
  const { code, stdout } = await heddle(["serve", "--help"]);
  expect([code, stdout]).toEqual([0, expect.stringContaining("--allow-without-key")]);
});

test("heddle serve answers for several models and their adapters", async () => {
  const adapter = join(folder, "adapter");
  await using base = await LanguageModel.load(model);
  await base.model.addAdapter("mine", { r: 2 }, 1);
  await base.saveAdapter(adapter, { name: "mine" });
  const { first, stderr } = await startServer(
    [
      ...["--model", `other=${model}`, "--adapter", `one/mine=${adapter}`],
      ...["--max-model-memory", "1000000000B", "--alias", "gpt-4o", "--log"],
    ],
    `one=${model}`,
  );
  expect(first).toMatchObject({ model: "one", models: ["one", "one/mine", "other"] });
  const { data } = (await (await fetch(`${first.url}/v1/models`)).json()) as { data: { id: string }[] };
  expect(data.map(({ id }) => id)).toEqual(["one", "gpt-4o", "one/mine", "other"]);
  for (const name of ["other", "one/mine"])
    expect(await (await post(first.url, { model: name, prompt: "The", max_tokens: 1 })).json()).toMatchObject({
      model: name,
      usage: { completion_tokens: 1 },
    });
  expect(stderr()).toContain("Serving one, one/mine, other at ");
});

test("heddle serve with several models rejects ambiguous and repeated names, and models that do not load", async () => {
  const two = ["serve", "--model", `a=${model}`, "--model", `b=${model}`];
  expect(await refused([...two, "--adapter", "somewhere"])).toMatch(/--adapter: expected NAME=DIR/);
  expect(await refused([...two, "--adapter", "c/x=somewhere"])).toMatch(/--adapter: expected MODEL\/NAME=DIR/);
  expect(await refused([...two, "--model-name", "x"])).toMatch(/--model-name: /);
  expect(await refused(["serve", "--model", `a=${model}`, "--model", `a=${model}`])).toMatch(
    /a name that is not taken/,
  );
  expect(await refused(["serve", "--model", `a=${model}`, "--model", "b=nowhere"])).toMatch(
    /nowhere: cannot be opened/,
  );
  expect(await refused([...two, "--max-model-memory", "much"])).toMatch(/--max-model-memory: /);
});
