// A call's cache memory is reused by the next call, which must not see its content.
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { Tensor } from "../../../lib/graph/index.ts";
import { type Completion, LanguageModel } from "../../../lib/language-model/index.ts";
import { temporaryFolder } from "../../formats/helpers.ts";
import { failureOf, tinyModel } from "../helpers.ts";

afterEach(() => vi.restoreAllMocks());

const long = Array.from({ length: 70 }, (_, i) => (i * 31) % 320);
const calls = [
  { prompt: long, maxTokens: 20 },
  { prompt: [3, 1, 4], maxTokens: 12 },
  { prompt: [long.slice(0, 40), [5, 9]], maxTokens: 8 },
  { prompt: [7], maxTokens: 90 },
  { prompt: long.slice(7), maxTokens: 3 },
];
const drawn = (result: Completion | Completion[]) =>
  (Array.isArray(result) ? result : [result]).map(({ tokens, logprobs }) => ({ tokens, logprobs }));

test.each(["f32", "f16", "bf16", "q8"] as const)(
  "%s: successive calls give the results of separate models",
  async (cacheDtype) => {
    const folder = join(temporaryFolder(), "model");
    await using plain = tinyModel();
    await plain.save(folder);
    const load = () => LanguageModel.load(folder, { cacheDtype });
    await using model = await load();
    for (const { prompt, maxTokens } of [...calls, ...calls]) {
      const options = { maxTokens, temperature: 0, ignoreEos: true, topLogprobs: 2 };
      await using alone = await load();
      const [a, b] = [
        await model.complete(prompt as number[], options),
        await alone.complete(prompt as number[], options),
      ];
      expect(drawn(a)).toEqual(drawn(b));
    }
  },
);

test("memory is reused by calls of the same shape, but not by others and not after a failed call", async () => {
  await using model = tinyModel();
  const zeros = vi.spyOn(Tensor, "zeros");
  const taken = async (work: () => Promise<unknown>) => {
    zeros.mockClear();
    await work();
    return zeros.mock.calls.length;
  };
  const one = () => model.complete([1, 2, 3], { maxTokens: 4, ignoreEos: true });
  const pair = () => model.complete([[1, 2], [3]] as never, { maxTokens: 4, ignoreEos: true });
  const aborted = async () => {
    const controller = new AbortController();
    const error = await failureOf(async () => {
      for await (const _ of model.generate([1, 2], { maxTokens: 50, ignoreEos: true, signal: controller.signal }))
        controller.abort();
    });
    expect(error.code).toBe("ABORTED");
  };
  expect(await taken(one)).toBeGreaterThan(0);
  // The allocations of a call that reuses the cache memory: none on a CPU.
  const spared = model.model.device.kind === "cpu" ? 0 : await taken(one);
  expect(await taken(one)).toBe(spared);
  expect(await taken(pair)).toBeGreaterThan(0);
  expect((await taken(pair)) > 0).toBe(spared > 0);
  expect(await taken(one)).toBeGreaterThan(0);
  expect(await taken(() => Promise.all([one(), one()]))).toBeGreaterThan(0);
  expect(await taken(aborted)).toBe(spared);
  expect(await taken(one)).toBeGreaterThan(0);
});

test("calls that end after the model is disposed leak nothing", async () => {
  const model = tinyModel();
  const held: Tensor[] = [];
  const { zeros } = Tensor;
  vi.spyOn(Tensor, "zeros").mockImplementation((...given) => {
    held.push(zeros.apply(Tensor, given));
    return held.at(-1)!;
  });
  await model.complete([1, 2, 3], { maxTokens: 4, ignoreEos: true });
  const work = model.complete([4, 5], { maxTokens: 60, ignoreEos: true }).catch((error) => error);
  await model.dispose();
  await work;
  expect(held.length).toBeGreaterThan(0);
  for (const tensor of held) await expect(tensor.read()).rejects.toThrow(/dispose/i);
});
