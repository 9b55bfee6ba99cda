// Adapters on the command line: one base and several adapters, alone, together and merged.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { adapterTensors } from "../../lib/models/adapters/adapters.ts";
import { generator, uniform } from "../../lib/models/random.ts";
import { folder, heddle, json, model, refused } from "./tiny.ts";

const ids = [5, 6, 7];
let one: string;
let two: string;

beforeAll(async () => {
  await using base = await LanguageModel.load(model);
  [one, two] = [join(folder, "one"), join(folder, "two")];
  for (const [i, out] of [one, two].entries()) {
    const name = `a${i}`;
    await base.model.addAdapter(name, { r: 2, alpha: 4 }, i);
    for (const t of adapterTensors(base.model.adapters.get(name)!)) {
      const tensor = base.model.weight(t);
      await tensor.write(uniform(tensor.elements, 0.3, generator(i + 1)));
    }
    await base.saveAdapter(out, { name });
  }
});

const logits = async (...args: string[]) => {
  const [result] = await json(["logits", "--token-ids", ids.join(","), "--last", "--dtype", "f32", ...args]);
  return (result!.logits[0] as number[]).map(Math.fround); // printed with as many digits as f32 needs
};
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.hypot(...Array.from(a, (v, i) => v - b[i]!)) / Math.hypot(...Array.from(a));
/**
 * Six standard deviations of the distance that rounding causes between logits computed in different orders. Logits result from 18 sums in
 * sequence: 8 in each of 2 layers, the last norm and the head. Each sum has up to 64 terms, with a rounding error of 2⁻²⁴ each.
 */
const ROUNDING = 6 * Math.sqrt((2 * 8 + 2) * 64) * 2 ** -24;

describe("a base and two adapters", () => {
  test("--adapter loads one or both onto the base, and an adapter's folder finds its base", async () => {
    await using base = await LanguageModel.load(model, { dtype: "f32" });
    await base.loadAdapter(one, { name: "one" });
    await base.loadAdapter(two, { name: "two" });
    const wanted = async (...adapters: string[]) => [...(await base.logits(ids, { last: true, adapters }))[0]!];
    expect(await logits("--model", model, "--adapter", one)).toEqual(await wanted("one"));
    expect(await logits("--model", two)).toEqual(await wanted("two"));
    const both = await logits("--model", model, "--adapter", one, "--adapter", two);
    expect(both).toEqual(await wanted("one", "two"));
    // Both adapters have an effect.
    for (const adapters of [[], ["one"], ["two"]])
      expect(distance(both, await wanted(...adapters))).toBeGreaterThan(100 * ROUNDING);
  });

  test("convert merges the adapter into a folder or a GGUF file, and leaves no other files", async () => {
    const adapted = await logits("--model", one);
    const before = (await readdir(folder)).sort();
    expect((await heddle(["convert", one, "merged"])).code).toBe(0);
    expect((await heddle(["convert", one, "merged.gguf", "--dtype", "f32"])).code).toBe(0);
    for (const out of ["merged", "merged.gguf"])
      expect(distance(await logits("--model", out), adapted), out).toBeLessThan(ROUNDING);
    expect((await readdir(folder)).sort()).toEqual([...before, "merged", "merged.gguf"].sort());
    // --base is for an adapter whose base is missing, or to use another base.
    expect((await heddle(["convert", one, "based", "--base", model])).code).toBe(0);
    expect(distance(await logits("--model", "based"), adapted)).toBeLessThan(ROUNDING);
    expect(await refused(["convert", model, "other", "--base", model], { json: false })).toContain(
      "--base: expected no value unless the input is an adapter folder",
    );
  });

  test("info shows an adapter and its base", async () => {
    const [{ adapter, parameters, dtypes }] = (await json(["info", "--model", one])) as [Record<string, unknown>];
    expect(adapter).toMatchObject({ r: 2, alpha: 4, base: model, taskType: "CAUSAL_LM" });
    await using base = await LanguageModel.load(one);
    const tensors = adapterTensors(base.model.adapters.get("default")!).map((t) => base.model.weight(t).elements);
    expect(parameters).toBe(tensors.reduce((sum, n) => sum + n, 0));
    expect(dtypes).toEqual(["F32"]);
  });

  test("rejects an adapter folder that does not exist, and names it", async () => {
    expect(await refused(["logits", "--token-ids", "1", "--model", model, "--adapter", "none"])).toContain(
      "none: cannot be opened: no such file or folder, and no model of this name in ",
    );
  });
});
