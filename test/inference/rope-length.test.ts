// RoPE whose frequencies depend on the length of the whole sequence (longrope, dynamic): every way to compute a sequence uses the length of that sequence.
import { describe, expect, test, vi } from "vitest";
import { KvCache } from "../../lib/inference/cache/kv-cache.ts";
import { scoreContinuations } from "../../lib/inference/continuations.ts";
import { maxDifference } from "../helpers/max-difference.ts";
import { tinyModel } from "./helpers.ts";

const idsFrom = (seed: number, length: number) =>
  Array.from({ length }, (_, i) => 3 + ((i * 7919 + seed * 104_729 + ((i * i) % 97)) % 300));
const few = { maxTokens: 6, temperature: 0, ignoreEos: true };

/** A model that was trained on sequences of `trained` tokens. */
function modelOf(ropeType: "longrope" | "dynamic", trained: number) {
  const isLong = ropeType === "longrope";
  const scaling = isLong
    ? { originalMaxPositionEmbeddings: trained, shortFactor: [1, 1, 1, 1], longFactor: [1, 2, 4, 8] }
    : { factor: 4 };
  return tinyModel(
    {},
    {
      maxPositionEmbeddings: isLong ? 1024 : trained,
      ropeScaling: { ropeType, ...scaling },
      tieWordEmbeddings: true,
    },
  );
}

describe.each(["longrope", "dynamic"] as const)("%s", (ropeType) => {
  test("continuations that cross the trained length have the log-probabilities of score", async () => {
    const model = modelOf(ropeType, 64);
    const prompt = idsFrom(1, 50);
    const continuations = [idsFrom(2, 5), idsFrom(3, 30), idsFrom(4, 6)];
    const { contextLength } = model;
    const [found] = await scoreContinuations(model.model, [{ prompt, continuations }], { contextLength });
    for (const [i, continuation] of continuations.entries()) {
      const scores = await model.score([...prompt, ...continuation], { from: prompt.length });
      expect(maxDifference(found![i]!, scores.subarray(prompt.length))).toBeLessThan(1e-3);
    }
    await model.dispose();
  });

  test.each([290, 400, 600])("the embedding of %d tokens is the state that gives the last logits", async (length) => {
    const model = modelOf(ropeType, 300);
    const ids = idsFrom(5, length);
    const [logits] = await model.logits(ids, { last: true });
    const embedding = await model.embed(ids, { pooling: "last", normalize: false });
    const name = [...model.model.tensors.keys()].find((key) => key.includes("embed"))!;
    const table = (await model.model.tensors.get(name)!.read()) as Float32Array;
    const width = embedding.length;
    const own = Array.from(logits!, (_, token) =>
      embedding.reduce((sum, value, c) => sum + value * table[token * width + c]!, 0),
    );
    expect(maxDifference(own, logits!)).toBeLessThan(1e-2);
    await model.dispose();
  });

  test("a session that is rolled back answers as if it had not held a longer sequence", async () => {
    const model = modelOf(ropeType, 100);
    const short = [...idsFrom(1, 90), 7, 8];
    const { tokens } = await model.complete(short, few);
    const session = model.session();
    await session.complete(idsFrom(1, 300), few);
    expect((await session.complete(short, few)).tokens).toEqual(tokens);
    session.dispose();
    await model.dispose();
  });

  test("a session that is truncated answers as if it had not held a longer sequence", async () => {
    const model = modelOf(ropeType, 100);
    // The truncated session is extended, not rolled back further.
    const extended = [...idsFrom(1, 110), 7, 8];
    const { tokens, logprobs } = await model.complete(extended, few);
    const session = model.session();
    await session.complete(idsFrom(1, 300), few);
    session.truncate(110);
    const again = await session.complete(extended, few);
    expect(again.tokens).toEqual(tokens);
    expect(maxDifference(again.logprobs, logprobs)).toBeLessThan(1e-3);
    session.dispose();
    await model.dispose();
  });

  test("a session whose prompt was aborted answers as if it had not begun to compute it", async () => {
    const model = modelOf(ropeType, 256);
    const long = idsFrom(1, 1000);
    const extended = [...long.slice(0, 280), 7, 8];
    const { tokens, logprobs } = await model.complete(extended, few);
    const session = model.session();
    const control = new AbortController();
    const { start } = KvCache.prototype;
    let runs = 0;
    // The prompt is computed in runs of 256 ids. The first run ends before the third begins.
    const spy = vi.spyOn(KvCache.prototype, "start").mockImplementation(function (this: KvCache, ...given) {
      if (++runs === 3) control.abort();
      return start.apply(this, given);
    });
    await expect(session.complete(long, { ...few, signal: control.signal })).rejects.toMatchObject({ code: "ABORTED" });
    spy.mockRestore();
    const again = await session.complete(extended, few);
    expect(again.tokens).toEqual(tokens);
    expect(maxDifference(again.logprobs, logprobs)).toBeLessThan(1e-3);
    session.dispose();
    await model.dispose();
  });
});
