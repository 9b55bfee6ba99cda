// Pulls that go wrong: dropped connections, wrong bytes, refusals, and several pulls at once.
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { mkdir, open, readdir, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { PARTIAL } from "../../lib/hub/download.ts";
import { filesBelow } from "../../lib/hub/snapshot.ts";
import { type PullProgress, pullModel } from "../../lib/index.ts";
import { claim } from "../../lib/io/claim.ts";
import { failureOf } from "../inference/helpers.ts";
import { bytes, cache, hub } from "./helpers.ts";
import { digestOf, fail, gitSha1, type HubFile, send, sha256 } from "./hub-server.ts";

const weights: HubFile = { content: bytes(200_000), lfs: true };
const folder = (name: string) => join(cache, `models--owner--${name}`);
const blob = (name: string) => join(folder(name), "blobs", digestOf(weights));

function add(name: string): string {
  return hub.add(`owner/${name}`, { "config.json": "{}", "model.safetensors": weights });
}

/** Answers requests for the weights on the storage server. */
function onWeights(answer: (request: IncomingMessage, response: ServerResponse, number: number) => void): void {
  let number = 0;
  hub.hook = (request, response, where) => {
    if (where !== "storage") return false;
    answer(request, response, number++);
    return true;
  };
}

/** Expects that neither a blob nor a snapshot has the bytes of a failed pull. */
async function expectNothing(name: string): Promise<void> {
  expect(existsSync(blob(name))).toBe(false);
  expect(await filesBelow(join(folder(name), "snapshots"))).toEqual([]);
  expect(existsSync(join(folder(name), "refs", "main"))).toBe(false);
}

describe("a connection that drops", () => {
  test("is resumed where it broke, until the file is complete", async () => {
    add("dropped");
    onWeights((request, response) => send(request, response, weights.content, 60_000));
    const { fetched, path } = await pullModel("owner/dropped");
    expect(sha256(readFileSync(join(path, "model.safetensors")))).toBe(digestOf(weights));
    expect(fetched).toBe(200_002);
    const ranges = hub.requests.filter(({ where }) => where === "storage").map(({ range }) => range);
    expect(ranges[0]).toBeUndefined();
    expect(ranges.length).toBeGreaterThan(2);
    const starts = ranges.slice(1).map((range) => Number(/^bytes=(\d+)-$/.exec(range!)![1]));
    expect(starts.every((start, i) => start > (starts[i - 1] ?? 0))).toBe(true);
  });

  test("keeps the part received so far, and the next pull continues after it", async () => {
    add("resumed");
    const stop = new AbortController();
    const stopped = pullModel("owner/resumed", {
      signal: stop.signal,
      onProgress: ({ loaded }) => {
        if (loaded > 50_000) stop.abort();
      },
    });
    onWeights((_, response) => {
      response.writeHead(200, { "content-length": weights.content.length });
      response.write(weights.content.subarray(0, 80_000)); // and then the server sends nothing
    });
    expect(await failureOf(() => stopped)).toMatchObject({ code: "ABORTED" });
    const kept = statSync(blob("resumed") + PARTIAL).size;
    expect(kept).toBeGreaterThan(40_000);
    await expectNothing("resumed");
    hub.hook = undefined;
    const { path, fetched } = await pullModel("owner/resumed");
    expect(hub.requests.at(-1)!.range).toBe(`bytes=${kept}-`);
    expect(fetched).toBe(200_000 - kept);
    expect(sha256(readFileSync(join(path, "model.safetensors")))).toBe(digestOf(weights));
    expect((await readdir(join(folder("resumed"), "blobs"))).filter((name) => name.endsWith(PARTIAL))).toEqual([]);
  });

  test("is not read further after an abort that fires while a part is written", async () => {
    add("aborted");
    await mkdir(join(folder("aborted"), "blobs"), { recursive: true });
    await writeFile(blob("aborted") + PARTIAL, weights.content.subarray(0, 1000));
    const stop = new AbortController();
    // The first call reports the bytes of the earlier pull, before the request for the others.
    const onProgress = vi.fn(() => stop.abort());
    const failure = await failureOf(() => pullModel("owner/aborted", { signal: stop.signal, onProgress }));
    expect(failure).toMatchObject({ code: "ABORTED" });
    expect(statSync(blob("aborted") + PARTIAL).size).toBe(1000);
  });

  test("leaves a part that is replaced if the server ignores ranges", async () => {
    add("whole");
    await mkdir(join(folder("whole"), "blobs"), { recursive: true });
    await writeFile(blob("whole") + PARTIAL, weights.content.subarray(0, 1000));
    onWeights((request, response) => {
      delete request.headers.range;
      send(request, response, weights.content);
    });
    const { path } = await pullModel("owner/whole");
    expect(sha256(readFileSync(join(path, "model.safetensors")))).toBe(digestOf(weights));
  });

  test("ends the pull after five tries without a byte, and reports the reason", async () => {
    add("gone");
    let tries = 0;
    onWeights((_, response) => {
      tries++;
      response.destroy();
    });
    expect(await failureOf(() => pullModel("owner/gone"))).toEqual({
      code: "IO",
      message: expect.stringMatching(
        /^http:\/\/127\.0\.0\.1:\d+\/stored\/[0-9a-f]+ cannot be reached: .*; tried 5 times$/,
      ),
    });
    expect(tries).toBe(5);
    await expectNothing("gone");
  });

  test("is closed after the timeout if it sends nothing, and the download resumes", async () => {
    add("slow");
    process.env.HF_HUB_DOWNLOAD_TIMEOUT = "0.2";
    let silent = 0;
    onWeights((request, response, number) => {
      if (number === 0) return; // no headers
      if (number > 1) return send(request, response, weights.content);
      silent++;
      response.writeHead(200, { "content-length": weights.content.length });
      response.write(weights.content.subarray(0, 1000));
    });
    await pullModel("owner/slow");
    expect(silent).toBe(1);
    expect(sha256(readFileSync(blob("slow")))).toBe(digestOf(weights));
  });

  test("is retried after the pause that a busy server asks for, or after a growing pause", async () => {
    add("busy");
    const answers = [
      { status: 429, after: "7" },
      { status: 503, after: "0" },
      { status: 503, after: undefined },
      { status: 503, after: undefined },
    ];
    let requests = 0;
    onWeights((request, response, number) => {
      requests++;
      const answer = answers[number];
      if (!answer) return send(request, response, weights.content);
      if (answer.after) response.setHeader("retry-after", answer.after);
      fail(response, answer.status);
    });
    const expected = [7000, 0, 800, 1600];
    const pauses: number[] = [];
    const wait = setTimeout;
    const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation(((work: () => void, ms = 0, ...args: []) => {
      if (!expected.includes(ms)) return wait(work, ms, ...args);
      pauses.push(ms);
      return wait(work, 0, ...args);
    }) as typeof setTimeout);
    onTestFinished(() => spy.mockRestore());
    await pullModel("owner/busy");
    expect(requests).toBe(5);
    expect(pauses).toEqual(expected);
    expect(sha256(readFileSync(blob("busy")))).toBe(digestOf(weights));
  });
});

describe("wrong bytes", () => {
  test("never get the file's name, and are deleted", async () => {
    add("wrong");
    onWeights((request, response) => send(request, response, bytes(200_000, 2)));
    expect(await failureOf(() => pullModel("owner/wrong"))).toEqual({
      code: "INVALID_FILE",
      message: expect.stringMatching(
        new RegExp(
          `^model\\.safetensors: expected bytes with the sha256 ${digestOf(weights)}, got [0-9a-f]{64}; the bytes are discarded`,
        ),
      ),
    });
    expect(existsSync(blob("wrong") + PARTIAL)).toBe(false);
    await expectNothing("wrong");
  });

  test("received over dropping connections end the pull after two complete tries", async () => {
    add("wrong-parts");
    const wrong = bytes(200_000, 2);
    let whole = 0;
    onWeights((request, response) => {
      if (request.headers.range === undefined) whole++;
      if (whole > 3) return fail(response, 418);
      send(request, response, wrong, 120_000);
    });
    expect(await failureOf(() => pullModel("owner/wrong-parts"))).toMatchObject({
      code: "INVALID_FILE",
      message: expect.stringMatching(/^model\.safetensors: expected bytes with the sha256 /),
    });
    expect(whole).toBe(2);
    await expectNothing("wrong-parts");
  });

  test("wrong bytes in a file that git stores are detected too", async () => {
    add("git");
    hub.hook = (request, response) => {
      if (!request.url!.endsWith("config.json")) return false;
      send(request, response, Buffer.from("[]"));
      return true;
    };
    expect(await failureOf(() => pullModel("owner/git"))).toMatchObject({
      code: "INVALID_FILE",
      message: expect.stringMatching(/^config\.json: expected bytes with the git-sha1 /),
    });
    expect(existsSync(join(folder("git"), "blobs", gitSha1(Buffer.from("{}"))))).toBe(false);
    expect(existsSync(join(folder("git"), "snapshots"))).toBe(false);
    expect(existsSync(join(folder("git"), "refs"))).toBe(false);
  });

  test("wrong bytes left by a crash are discarded, and the file is fetched from its beginning", async () => {
    add("crash");
    await mkdir(join(folder("crash"), "blobs"), { recursive: true });
    await writeFile(blob("crash") + PARTIAL, Buffer.alloc(90_000));
    expect(await pullModel("owner/crash")).toMatchObject({ bytes: 200_002, fetched: 110_000 + 200_002 });
    expect(sha256(readFileSync(blob("crash")))).toBe(digestOf(weights));
  });

  test("wrong bytes left by a larger file are not reused", async () => {
    add("longer");
    await mkdir(join(folder("longer"), "blobs"), { recursive: true });
    await writeFile(blob("longer") + PARTIAL, Buffer.alloc(500_000));
    const { fetched } = await pullModel("owner/longer");
    expect(fetched).toBe(200_002);
    expect(sha256(readFileSync(blob("longer")))).toBe(digestOf(weights));
  });

  test("wrong bytes that another container writes into an abandoned partial file do not get the file's name", async () => {
    add("containers");
    await mkdir(join(folder("containers"), "blobs"), { recursive: true });
    await writeFile(blob("containers") + PARTIAL, Buffer.alloc(1000));
    const other = await open(blob("containers") + PARTIAL, "r+");
    await pullModel("owner/containers");
    await other.write(Buffer.from("wrong"), 0, 5, 0);
    await other.close();
    expect(sha256(readFileSync(blob("containers")))).toBe(digestOf(weights));
  });

  test("wrong bytes in a partial file that another container has replaced do not get the file's name", async () => {
    add("replaced");
    onWeights((request, response) => {
      rmSync(blob("replaced") + PARTIAL);
      writeFileSync(blob("replaced") + PARTIAL, "other");
      send(request, response, weights.content);
    });
    expect(await failureOf(() => pullModel("owner/replaced"))).toEqual({
      code: "IO",
      message: `${blob("replaced") + PARTIAL}: another pull has replaced this file; pull again`,
    });
    expect(readFileSync(blob("replaced") + PARTIAL, "utf8")).toBe("other");
    await expectNothing("replaced");
  });

  test.each([
    ["more bytes than the list says", Buffer.concat([weights.content, Buffer.from("x")]), {}],
    ["fewer bytes than the list says", weights.content.subarray(1), {}],
    ["an endless body", weights.content, { "transfer-encoding": "chunked" }],
  ])("are refused: %s", async (_, content, headers) => {
    add("sizes");
    onWeights((request, response) => {
      if (!("transfer-encoding" in headers)) return send(request, response, content);
      response.writeHead(200, headers);
      const more = () => {
        while (response.write(content));
      };
      response.on("drain", more);
      more();
    });
    expect(await failureOf(() => pullModel("owner/sizes"))).toEqual({
      code: "INVALID_FILE",
      message: expect.stringMatching(/^model\.safetensors: expected 200000 bytes, got (more|\d+)$/),
    });
    await expectNothing("sizes");
  });

  test("wrong bytes of another range than the requested one are rejected", async () => {
    add("range");
    await mkdir(join(folder("range"), "blobs"), { recursive: true });
    await writeFile(blob("range") + PARTIAL, weights.content.subarray(0, 1000));
    onWeights((_, response) =>
      response.writeHead(206, { "content-range": "bytes 0-199999/200000" }).end(weights.content),
    );
    expect(await failureOf(() => pullModel("owner/range"))).toMatchObject({
      code: "INVALID_FILE",
      message: "model.safetensors: expected the range from 1000 of 200000 bytes, got bytes 0-199999/200000",
    });
    await expectNothing("range");
  });
});

describe("refusals", () => {
  const refuse = (status: number, code?: string) => {
    hub.hook = (_, response) => {
      fail(response, status, code);
      return true;
    };
  };

  test.each<[number, string | undefined, string | undefined, string, RegExp]>([
    [
      401,
      "GatedRepo",
      undefined,
      "INVALID_ARGUMENT",
      /^HF_TOKEN: expected a token that may read owner\/a, got none; the model is gated/,
    ],
    [
      403,
      "GatedRepo",
      "hf_x",
      "INVALID_ARGUMENT",
      /^HF_TOKEN: expected a token that may read owner\/a, got a token that may not; .*\/owner\/a has its terms\)$/,
    ],
    [
      401,
      undefined,
      "hf_x",
      "INVALID_ARGUMENT",
      /^HF_TOKEN: expected a token that http:\/\/127\.0\.0\.1:\d+ accepts, got a token that it rejects$/,
    ],
    [
      401,
      "RepoNotFound",
      undefined,
      "NOT_FOUND",
      /^owner\/a: http:\S+ has no such model; a private one needs HF_TOKEN$/,
    ],
    [
      404,
      "RepoNotFound",
      "hf_x",
      "NOT_FOUND",
      /has no such model; a private one needs HF_TOKEN of an account that may read it$/,
    ],
    [404, "RevisionNotFound", undefined, "NOT_FOUND", /^owner\/a: http:\S+ has no revision main of this model$/],
    [418, undefined, undefined, "IO", /expected an answer with status 200, got 418$/],
  ])("refusals with status %i (%s, token %s) become %s", async (status, code, token, expected, message) => {
    add("a");
    refuse(status, code);
    if (token) process.env.HF_TOKEN = token;
    const failure = await failureOf(() => pullModel("owner/a"));
    expect(failure).toEqual({ code: expected, message: expect.stringMatching(message) });
    if (token) expect(failure.message).not.toContain(token);
    expect(hub.requests).toHaveLength(1);
    expect(await readdir(cache)).toEqual([]);
  });

  test("refusals of a name, an option, a token or an address come before any request", async () => {
    for (const name of [
      "",
      "a/b/c",
      "../x",
      "owner/..",
      "owner/a--b",
      "owner/a@../b",
      "owner/a@x/../y",
      "-a/b",
      "x.git",
    ])
      expect(await failureOf(() => pullModel(name)), name).toMatchObject({
        code: "INVALID_ARGUMENT",
        message: expect.stringMatching(/^name: expected OWNER\/NAME\[@REVISION\]\[:TAG\], got /),
      });
    expect((await failureOf(() => pullModel("owner/a", { includes: "*" } as object))).message).toMatch(
      /nearest: include/,
    );
    expect((await failureOf(() => pullModel("owner/a", { token: "a\nb" }))).message).toMatch(
      /^token: expected printable/,
    );
    process.env.HF_ENDPOINT = "ftp://x";
    expect((await failureOf(() => pullModel("owner/a"))).message).toMatch(
      /^HF_ENDPOINT: expected an http or https URL/,
    );
    expect(hub.requests).toEqual([]);
  });
});

test("the error for an unreachable server contains its address and the reason", async () => {
  await hub.stop();
  expect(await failureOf(() => pullModel("owner/a"))).toEqual({
    code: "IO",
    message: expect.stringMatching(
      /^http:\/\/127\.0\.0\.1:\d+\/api\/\S+ cannot be reached: ECONNREFUSED; tried 5 times$/,
    ),
  });
});

describe("several pulls of one model", () => {
  test("wait for each other, and fetch every byte once", async () => {
    add("shared");
    onWeights((request, response) => setTimeout(() => send(request, response, weights.content), 300));
    let waited = 0;
    const onProgress = ({ isWaiting }: PullProgress) => {
      if (isWaiting) waited++;
    };
    const pulls = await Promise.all([1, 2, 3].map(() => pullModel("owner/shared", { onProgress })));
    expect(pulls.reduce((sum, { fetched }) => sum + fetched, 0)).toBe(200_002);
    expect(new Set(pulls.map(({ path }) => path)).size).toBe(1);
    expect(waited).toBeGreaterThan(0);
    expect(hub.requests.filter(({ where }) => where === "storage")).toHaveLength(1);
  });

  test("start over after they waited for a removal", async () => {
    add("removed");
    await mkdir(folder("removed"), { recursive: true });
    const release = await claim(folder("removed"), "models rm");
    let waits = 0;
    const pulled = pullModel("owner/removed", {
      onProgress: ({ isWaiting }) => {
        if (!isWaiting) return;
        waits++;
        rmSync(folder("removed"), { recursive: true, force: true });
        if (waits === 2) release();
      },
    });
    const { path } = await pulled;
    expect(waits).toBe(2);
    expect(sha256(readFileSync(join(path, "model.safetensors")))).toBe(digestOf(weights));
  });

  test("release the lock when they fail", async () => {
    add("failed");
    onWeights((request, response) => send(request, response, bytes(200_000, 3)));
    await failureOf(() => pullModel("owner/failed"));
    hub.hook = undefined;
    await pullModel("owner/failed");
    expect(sha256(readFileSync(blob("failed")))).toBe(digestOf(weights));
  });
});
