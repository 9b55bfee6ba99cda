import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Completion, LanguageModel } from "../../../lib/language-model/index.ts";
import { temporaryFile, temporaryFolder } from "../../formats/helpers.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../helpers.ts";

const bits = ({ tokens, logprobs }: Completion) => ({ tokens, logprobs });
const greedy = { maxTokens: 12, temperature: 0, ignoreEos: true };
const long = Array.from({ length: 700 }, (_, i) => (i * 31 + (i >> 4)) % 320);
const folder = temporaryFolder();

describe.each([
  ["llama", {}],
  ["mistral, whose layers have ring caches", { modelType: "mistral", slidingWindow: 24 }],
  ["gemma2, some of whose layers have ring caches", { modelType: "gemma2", headDim: 8, slidingWindow: 40 }],
  [
    "phi3, whose RoPE angles depend on the length",
    {
      modelType: "phi3",
      ropeScaling: {
        ropeType: "longrope",
        originalMaxPositionEmbeddings: 512,
        shortFactor: [1, 1, 1, 1],
        longFactor: [2, 3, 4, 5],
      },
    },
  ],
] as const)("%s", (name, config) => {
  let model: LanguageModel;
  beforeAll(() => {
    model = tinyModel({}, { ...config, maxPositionEmbeddings: 1024 });
  });
  afterAll(() => model.dispose());

  test.each(["f32", "bf16", "f16", "q8"] as const)(
    "%s: a loaded session continues with the same bits as the session that was saved",
    async (cacheDtype) => {
      const path = join(folder, `${name}-${cacheDtype}`);
      await using kept = model.session({ cacheDtype, contextLength: 900 });
      const first = await kept.complete(long, greedy);
      await kept.save(path);
      // Another model with the same weights simulates another process.
      await using again = tinyModel({}, { ...config, maxPositionEmbeddings: 1024 });
      await using session = await again.loadSession(path);
      expect(session.tokens).toEqual(kept.tokens);
      expect([session.cacheDtype, session.contextLength, session.cacheBytes]).toEqual([
        cacheDtype,
        900,
        kept.cacheBytes,
      ]);
      const prompt = [...long, ...first.tokens, 5, 6];
      const [a, b] = [await session.complete(prompt, greedy), await kept.complete(prompt, greedy)];
      // All but the last new token, which no run has processed.
      expect(a.usage.cachedTokens).toBe(long.length + greedy.maxTokens - 1);
      expect(bits(a)).toEqual(bits(b));
      // Both can be truncated, with the same bits. The rings (320 rows) still hold the window of position 690. At position 100 they have lost
      // it, and phi3's RoPE angles differ there. So only llama still uses its cache.
      for (const [length, cachedTokens] of [
        [690, 690],
        [100, name === "llama" ? 100 : 0],
      ] as const) {
        const back = [...long.slice(0, length), 9];
        const [c, d] = [await session.complete(back, greedy), await kept.complete(back, greedy)];
        expect(c.usage).toEqual(d.usage);
        expect(c.usage.cachedTokens).toBe(cachedTokens);
        expect(bits(c)).toEqual(bits(d));
      }
    },
  );
});

describe("session files", () => {
  let model: LanguageModel;
  let bytes: Buffer;
  const path = join(folder, "small");
  beforeAll(async () => {
    model = tinyModel({}, { maxPositionEmbeddings: 64 });
    await using session = model.session();
    await session.complete([1, 2, 3], { ...greedy, maxTokens: 2 });
    await session.save(path);
    bytes = readFileSync(path);
  });
  afterAll(() => model.dispose());
  const load = (content: Uint8Array) => failureOf(() => model.loadSession(temporaryFile(content)));
  /** Returns the file with a part of its header replaced by another of equal length. */
  const edited = (from: string, to: string) => {
    const text = bytes.toString("latin1");
    expect(text).toContain(from);
    expect(to.length).toBe(from.length);
    return Buffer.from(text.replace(from, to), "latin1");
  };

  test("can hold an empty session, can be overwritten, and leave no temporary file", async () => {
    const own = temporaryFolder();
    await using session = model.session();
    await session.save(join(own, "s"));
    expect((await model.loadSession(join(own, "s"))).tokens).toEqual([]);
    await session.complete([4, 5], greedy);
    await session.save(join(own, "s"));
    await using loaded = await model.loadSession(join(own, "s"));
    expect(loaded.tokens).toEqual(session.tokens);
    expect(readdirSync(own)).toEqual(["s"]);
    expect((await failureOf(() => session.save(join(own, "none", "s")))).code).toBe("NOT_FOUND");
    const running = session.complete([1], greedy);
    expect((await failureOf(() => session.save(join(own, "s")))).message).toContain("one call at a time");
    await running;
  });

  test("are rejected if truncated at any byte, or extended by one", async () => {
    for (let length = 0; length < bytes.length; length++)
      expect((await load(bytes.subarray(0, length))).code, `${length} bytes`).toBe("INVALID_FILE");
    expect((await load(Buffer.concat([bytes, Buffer.of(0)]))).code).toBe("INVALID_FILE");
  });

  test("are rejected if their header is inconsistent", async () => {
    for (const [from, to, message] of [
      ["heddle-session", "heddle-sessiom", /expected a session/],
      ['"version":"4"', '"version":"3"', /version: expected 4, got 3/],
      ['\\"capacity\\":64', '\\"capacity\\":32', /capacity: expected 64, got 32/],
      ['\\"contextLength\\":64', '\\"contextLength\\":99', /capacity: expected 99, got 64/],
      ['\\"written\\":4', '\\"written\\":3', /written: expected at least 4, got 3/],
      ['\\"written\\":4', '\\"written\\":x', /state: expected JSON/],
      ['\\"dtype\\":\\"f32\\"', '\\"dtype\\":\\"f64\\"', /dtype: expected f32, bf16, f16 or q8/],
      ['\\"dtype\\":\\"f32\\"', '\\"dtype\\":\\"f16\\"', /expected f16 \(2, 4, 8\), got f32/],
      ['"cache.1.v"', '"cache.1.w"', /cache.1.w: unknown tensor/],
      ['"shape":[2,4,8]', '"shape":[4,2,8]', /expected f32 \(2, 4, 8\), got f32 \(4, 2, 8\)/],
      ['"tokens"', '"takens"', /tokens: expected \(n\) I32/],
      ['\\"adapters\\":[]', '\\"adapters\\":{}', /adapters: expected an array/],
    ] as const) {
      const failure = await load(edited(from, to));
      expect(failure.code, to).toBe("INVALID_FILE");
      expect(failure.message).toMatch(message);
    }
    const tokens = Buffer.from(bytes);
    tokens.writeInt32LE(320, tokens.indexOf(Buffer.from(Int32Array.of(1, 2, 3).buffer)));
    expect((await load(tokens)).message).toMatch(/tokens: expected ids of 0 to 319, got 320/);
  });

  test("are rejected if a bit of any byte is flipped", async () => {
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes);
      changed[i]! ^= 1 << (i % 8);
      const { code, message } = await load(changed);
      expect(["INVALID_FILE", "UNSUPPORTED"], `byte ${i}: ${message}`).toContain(code);
    }
    const row = Buffer.from(bytes);
    const digestBytes = 32; // SHA-256, at the end of the file
    row[bytes.length - digestBytes - 1]! ^= 1;
    expect((await load(row)).message).toMatch(/digest: does not match the contents/);
  });

  test("are rejected by another model, after a change of weights, as a chat, and by a shorter context", async () => {
    await using other = tinyModel({ seed: 8 }, { maxPositionEmbeddings: 64 });
    expect((await failureOf(() => other.loadSession(path))).message).toMatch(
      /of this model .* got a session of another model/,
    );
    const same = tinyModel({}, { maxPositionEmbeddings: 64 });
    const weight = same.model.weight("model.layers.1.mlp.up_proj.weight");
    await weight.write(((await weight.read()) as Float32Array).map((v) => v * 1.001));
    expect((await failureOf(() => same.loadSession(path))).message).toMatch(/got a session of another model/);
    await same.dispose();
    expect((await failureOf(() => model.loadChat(path))).message).toMatch(
      /: expected a chat, got a session without one$/,
    );
    await using short = new LanguageModel({
      model: tinyModel({}, { maxPositionEmbeddings: 64 }).model,
      contextLength: 32,
    });
    expect((await failureOf(() => short.loadSession(path))).message).toMatch(/contextLength/);
    expect((await failureOf(() => model.loadSession(join(folder, "nothing")))).code).toBe("NOT_FOUND");
    writeFileSync(join(folder, "text"), "not a session, whatever it says");
    expect((await failureOf(() => model.loadSession(join(folder, "text")))).code).toBe("INVALID_FILE");
  });

  test("require the session's adapters to be loaded, and the error names a missing one", async () => {
    await using adapted = tinyModel({}, { maxPositionEmbeddings: 64 });
    await adapted.model.addAdapter("style", { r: 2 }, 3);
    await using session = adapted.session({ adapters: ["style"] });
    await session.complete([1, 2], greedy);
    const own = join(folder, "adapted");
    await session.save(own);
    await using loaded = await adapted.loadSession(own);
    expect(loaded.tokens).toEqual(session.tokens);
    expect((await failureOf(() => model.loadSession(own))).message).toMatch(
      /adapters: expected loaded adapters, got style/,
    );
  });
});

test("a chat is saved with its cache", async () => {
  await using model = tinyModel({ tokenizer: await tinyTokenizer() }, { maxPositionEmbeddings: 512 });
  const path = join(folder, "chat");
  const chat = model.chat({ system: "Animals." });
  await chat.send("The cat", greedy);
  await chat.save(path);
  const loaded = await model.loadChat(path);
  expect(loaded.messages).toEqual(chat.messages);
  const [a, b] = [await loaded.send("The dog", greedy), await chat.send("The dog", greedy)];
  expect(bits(a)).toEqual(bits(b));
  expect(a.usage.cachedTokens).toBe(b.usage.cachedTokens);
  expect(a.usage.cachedTokens).toBeGreaterThan(10);
  for (const c of [chat, loaded]) c.dispose();
  await using session = await model.loadSession(path);
  expect(session.tokens.length).toBeGreaterThan(10);
  const text = readFileSync(path, "latin1").replace("assistant", "assassins");
  expect((await failureOf(() => model.loadChat(temporaryFile(Buffer.from(text, "latin1"))))).code).toBe("INVALID_FILE");
});
