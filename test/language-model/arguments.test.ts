// Invalid arguments are rejected with an error that names them, and the process stays alive.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { describe as rendering } from "../../lib/core/errors.ts";
import { Run } from "../../lib/core/run.ts";
import { compile, input, openDevice, scale, Tensor } from "../../lib/graph/index.ts";
import { createModel } from "../../lib/language-model/create.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import type { LoadOptions } from "../../lib/language-model/load-options.ts";
import { adapterTensors } from "../../lib/models/adapters/adapters.ts";
import { generator, uniform } from "../../lib/models/random.ts";
import { maxDifference } from "../helpers/max-difference.ts";

const folder = await mkdtemp(join(tmpdir(), "heddle-arguments-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const sizes = { vocabSize: 90, hiddenSize: 32, intermediateSize: 48, numHiddenLayers: 2, numAttentionHeads: 4 };
const model = createModel({ modelType: "llama", ...sizes, maxPositionEmbeddings: 64 }, { seed: 5 });
const greedy = { temperature: 0, maxTokens: 4, ignoreEos: true };
const refused = (message: RegExp) =>
  expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) });

describe("invalid prompts", () => {
  test.each([
    ["messages", [{ role: "user", content: "hi" }], /model\.chat\(\)/],
    ["the result of a chat template", { text: "hi", ids: Uint32Array.of(1) }, /its ids/],
    ["nothing", null, /^prompt: expected a string, token ids, or an array of those/],
    ["holes", new Array(3), /^prompt\[0\]: expected a string or token ids/],
    ["a hole after a prompt", Object.assign(new Array(2), { 0: [1] }), /^prompt\[1\]: /],
  ])("are rejected: %s", async (_, prompt, message) => {
    await expect(model.completeAll(prompt as never, greedy)).rejects.toEqual(refused(message));
  });

  test("are rejected if their buffer is detached, and so are values to write", async () => {
    const ids = Uint32Array.of(1, 2);
    structuredClone(ids.buffer, { transfer: [ids.buffer] });
    const detached = refused(/: expected an array that is not detached, got a detached Uint32Array$/);
    await expect(model.complete(ids, greedy)).rejects.toEqual(detached);
    const long = new Array<number>(1 << 17).fill(1);
    await expect(model.completeAll([long, ids], { ...greedy, contextOverflow: "truncateLeft" })).rejects.toEqual(
      detached,
    );
    const weight = model.model.weight(model.model.weightNames[0]!);
    const values = new Float32Array(weight.elements);
    structuredClone(values.buffer, { transfer: [values.buffer] });
    await expect(weight.write(values)).rejects.toEqual(refused(/^write: expected an array that is not detached/));
  });
});

test("an array with its own iterator is accepted, and its elements are read by index", async () => {
  const ids = Object.assign([1, 2, 3], { *[Symbol.iterator]() {} });
  expect((await model.complete(ids, greedy)).tokens).toEqual((await model.complete([1, 2, 3], greedy)).tokens);
});

test("null selects an option's default", async () => {
  const of = async (maxTokens: unknown) => (await model.complete([1], { ...greedy, maxTokens } as never)).tokens.length;
  expect(await of(null)).toBe(await of(undefined));
});

test("the option last of logits must be a boolean or null", async () => {
  for (const last of [1, 0, "yes", {}])
    await expect(model.logits([1, 2], { last: last as never })).rejects.toEqual(
      refused(/^last: expected true or false, got /),
    );
  expect(await model.logits([1, 2], { last: null as never })).toHaveLength(2);
});

test("samples differ with the largest seed too", async () => {
  const options = { n: 3, seed: Number.MAX_SAFE_INTEGER, maxTokens: 8, ignoreEos: true, temperature: 2 };
  const samples = (await model.completeAll([[1, 2]], options)).map(({ tokens }) => tokens.join());
  expect(new Set(samples).size).toBe(3);
});

describe("signals that are not AbortSignals", () => {
  const broken = new Error("not an event target");
  const addEventListener = () => {
    throw broken;
  };
  const fake = Object.create(AbortSignal.prototype, {
    aborted: { value: false },
    addEventListener: { value: addEventListener },
  }) as AbortSignal;
  test.each([
    ["a plain object", {}],
    ["an object that imitates AbortSignal, whose own error is thrown", fake],
  ])("%s: the call rejects, and no rejection is unhandled", async (name, signal) => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    try {
      const double = compile(() => ({ y: scale(input("x", "f32", [4]), 2) })).bind(openDevice(), new Map());
      for (const call of [
        () => model.logits([1, 2], { signal: signal as never }),
        () => model.score([1, 2], { signal: signal as never }),
        () => model.embed([1, 2], { signal: signal as never }),
        () => model.complete([1, 2], { ...greedy, signal: signal as never }),
        () => double.run({ x: new Float32Array(4) }, { signal: signal as never }),
      ]) {
        const error: unknown = await call().catch((e: unknown) => e);
        if (name === "a plain object") expect(error).toEqual(refused(/^signal: expected an AbortSignal/));
        else expect(error).toBe(broken);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(unhandled).toEqual([]);
    } finally {
      process.off("unhandledRejection", note);
    }
  });
});

describe("embed", () => {
  test.each([
    [{ pooling: "cls" }, /^pooling: expected first, which is the name of cls pooling, got "cls"/],
    [{ pooling: "all" }, /^pooling: expected one of first, max, mean, .* or several of them, got "all"/],
    [{ normalize: "no" }, /^normalize: expected true or false/],
  ])("rejects %j", async (options, message) => {
    await expect(model.embed([1, 2], options as never)).rejects.toEqual(refused(message));
  });
});

describe("save", () => {
  test.each(["x.gguf", "model.safetensors"])("rejects %s, which is not a folder", async (name) => {
    await expect(model.save(join(folder, name))).rejects.toEqual(refused(/^folder: expected a folder.*convertModel/));
    expect(await readdir(folder)).toEqual([]);
  });

  test("rejects an active adapter until it is merged or deactivated", async () => {
    await using base = createModel({ modelType: "llama", ...sizes, maxPositionEmbeddings: 64 }, { seed: 5 });
    await base.model.addAdapter("default", { r: 2 }, 1);
    for (const name of adapterTensors(base.model.adapters.get("default")!)) {
      const t = base.model.weight(name);
      await t.write(uniform(t.elements, 0.3, generator(t.elements)));
    }
    const to = join(folder, "saved");
    await expect(base.save(to)).rejects.toEqual(
      refused(/^save: expected no active adapter, got default \(saveAdapter\(\)/),
    );
    const tuned = (await base.logits([1, 2, 3], { last: true }))[0]!;
    base.setActiveAdapters([]);
    const plain = (await base.logits([1, 2, 3], { last: true }))[0]!;
    expect(plain).not.toEqual(tuned);
    await base.save(to);
    await using left = await LanguageModel.load(to);
    expect((await left.logits([1, 2, 3], { last: true }))[0]).toEqual(plain);
    await base.mergeAdapter();
    await base.save(to);
    await using merged = await LanguageModel.load(to);
    const close = (await merged.logits([1, 2, 3], { last: true }))[0]!;
    expect(maxDifference(close, tuned)).toBeLessThan(1e-4);
    base.unmergeAdapters();
    base.removeAdapter();
    expect((await base.logits([1, 2, 3], { last: true }))[0]).toEqual(plain);
  });
});

test("load accepts every option of its type", async () => {
  const options = {
    device: "cpu",
    threads: 1,
    allowTf32: true,
    dtype: "f32",
    quantizedActivations: "f32",
    contextLength: 8,
    cacheDtype: "f32",
    cachePageSize: 16,
    download: false,
    signal: new AbortController().signal,
    onProgress: () => {},
  } as const satisfies Required<LoadOptions>;
  await expect(LanguageModel.load(join(folder, "none"), options)).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("replies and runs have catch and finally", async () => {
  const ended: string[] = [];
  const failing = () =>
    // biome-ignore lint/correctness/useYield: it fails before it reports
    new Run<number, string>(async function* () {
      throw new Error("broken");
    });
  expect(await failing().catch((e: Error) => e.message)).toBe("broken");
  await expect(failing().finally(() => ended.push("run"))).rejects.toThrow("broken");
  await using speaker = await LanguageModel.load("default");
  const signal = AbortSignal.abort();
  expect(
    await speaker
      .chat()
      .send("x", { signal })
      .catch((e) => e.code),
  ).toBe("ABORTED");
  const reply = speaker.chat().send("x", { signal });
  await expect(reply.finally(() => ended.push("reply"))).rejects.toMatchObject({ code: "ABORTED" });
  expect(ended).toEqual(["run", "reply"]);
});

describe("tensors", () => {
  const device = openDevice();
  test("reject elements of another type instead of reinterpreting their bits", async () => {
    const t = Tensor.zeros(device, "f32", [2]);
    await expect(t.write(Int32Array.of(1, 2))).rejects.toEqual(
      refused(/^write: expected an array of f32 \(Float32Array\)/),
    );
    const double = compile(() => ({ y: scale(input("x", "f32", [2]), 2) })).bind(device, new Map());
    await expect(double.run({ x: Int32Array.of(1, 2) })).rejects.toEqual(
      refused(/^run: input x: expected an array of f32/),
    );
    class Mine extends Float32Array {}
    await t.write(new Mine([1, 2]));
    expect([...(await t.read())]).toEqual([1, 2]);
  });

  test("read shared memory", async () => {
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([3, 4]);
    const t = await Tensor.from(device, "f32", [2], shared as never);
    expect([...(await t.read())]).toEqual([3, 4]);
    const double = compile(() => ({ y: scale(input("x", "f32", [2]), 2) })).bind(device, new Map());
    expect([...(await double.run({ x: shared as never })).y]).toEqual([6, 8]);
  });

  test("require whole numbers for offsets and shapes", async () => {
    const t = Tensor.zeros(device, "f32", [4]);
    await expect(t.write(Float32Array.of(1), 0.25)).rejects.toEqual(refused(/^start: /));
    await expect(t.read(0.25, 1)).rejects.toEqual(refused(/^start: /));
    await expect(t.read(0, 0.25)).rejects.toEqual(refused(/^count: /));
    for (const shape of [[-1, -1], [2.5], "4", undefined])
      expect(() => Tensor.zeros(device, "f32", shape as never)).toThrow(/^shape: expected an array of whole numbers/);
    expect(() => Tensor.zeros(device, "f33" as never, [1])).toThrow(/^dtype: expected one of f32/);
  });

  test("report an allocation beyond the memory as an error, and do not end the process", async () => {
    const read = async () => Tensor.zeros(device, "u8", [2 ** 43]).read();
    await expect(read()).rejects.toMatchObject({ code: "OUT_OF_MEMORY" });
  });
});

describe("error messages about values", () => {
  test("summarize nested arrays quickly, whatever they contain", () => {
    let nested: unknown[] = [];
    for (let i = 0; i < 12; i++) nested = Array(8).fill(nested);
    expect(rendering(nested)).toBe(`[${Array(8).fill("an array of 8").join(", ")}]`);
    const itself: unknown[] = [];
    itself[0] = itself;
    expect(rendering(itself)).toBe("[an array of 1]");
  });

  test("are made even if a value cannot be inspected", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    for (const value of [
      proxy,
      {
        get constructor() {
          throw new Error("no");
        },
      },
      { constructor: { name: Symbol("x") } },
      Object.create(null),
    ])
      expect(typeof rendering(value)).toBe("string");
  });
});
