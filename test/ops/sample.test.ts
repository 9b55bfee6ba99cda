// Sampling against a simple reference: sort everything, truncate, draw.
import { describe, expect, test } from "vitest";
import { compile, input, openDevice, sample } from "../../lib/graph/index.ts";
import { generator } from "./harness.ts";

interface Row {
  logits: Float32Array;
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  repetition: number;
  presence: number;
  frequency: number;
  promptLength: number;
  history: number[];
  bias: [id: number, value: number][];
  seed: [low: number, high: number];
  counter: number;
}

const plain: Omit<Row, "logits"> = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetition: 1,
  presence: 0,
  frequency: 0,
  promptLength: 0,
  history: [],
  bias: [],
  seed: [1, 2],
  counter: 0,
};

const device = openDevice({ device: "cpu" });

async function sampleRows(rows: readonly Row[], top = 0) {
  const vocabulary = rows[0]!.logits.length;
  const length = Math.max(1, ...rows.map((r) => r.history.length));
  const biases = Math.max(1, ...rows.map((r) => r.bias.length));
  const executable = compile(() => {
    const n = rows.length;
    const drawn = sample(
      {
        logits: input("logits", "f32", [n, vocabulary]),
        params: input("params", "f32", [n, 9]),
        history: input("history", "i32", [n, length]),
        biasIds: input("biasIds", "i32", [n, biases]),
        biasValues: input("biasValues", "f32", [n, biases]),
        rng: input("rng", "i32", [n, 3]),
      },
      { top },
    );
    return { ...drawn };
  }).bind(device, new Map());
  const pad = (list: number[], to: number, filler: number) => [
    ...list,
    ...Array<number>(to - list.length).fill(filler),
  ];
  const outputs = await executable.run({
    logits: Float32Array.from(rows.flatMap((r) => [...r.logits])),
    params: Float32Array.from(
      rows.flatMap((r) => [
        r.temperature,
        r.topK,
        r.topP,
        r.minP,
        r.repetition,
        r.presence,
        r.frequency,
        r.promptLength,
        r.history.length,
      ]),
    ),
    history: Int32Array.from(rows.flatMap((r) => pad(r.history, length, -5))),
    biasIds: Int32Array.from(
      rows.flatMap((r) =>
        pad(
          r.bias.map(([id]) => id),
          biases,
          -1,
        ),
      ),
    ),
    biasValues: Float32Array.from(
      rows.flatMap((r) =>
        pad(
          r.bias.map(([, v]) => v),
          biases,
          9,
        ),
      ),
    ),
    rng: Int32Array.from(rows.flatMap((r) => [...r.seed, r.counter])),
  });
  executable.dispose();
  return outputs as {
    token: Int32Array;
    logprob: Float32Array;
    topIds?: Int32Array;
    topLogprobs?: Float32Array;
    entropy?: Float32Array;
  };
}

/** Philox4x32-10 in big integers (Salmon et al. 2011). */
function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [a, b, c, d] = counter.map((v) => v >>> 0) as [number, number, number, number];
  let [k0, k1] = key.map((v) => v >>> 0) as [number, number];
  for (let round = 0; round < 10; round++) {
    const p = BigInt(a) * 0xd2511f53n;
    const q = BigInt(c) * 0xcd9e8d57n;
    const high = (v: bigint) => Number(v >> 32n);
    const low = (v: bigint) => Number(v & 0xffffffffn);
    [a, b, c, d] = [(high(q) ^ b ^ k0) >>> 0, low(q), (high(p) ^ d ^ k1) >>> 0, low(p)];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

function logSoftmax(logits: ArrayLike<number>): number[] {
  const values = Array.from(logits);
  const largest = Math.max(...values);
  const sum = values.reduce((s, v) => s + Math.exp(v - largest), 0);
  return values.map((v) => v - largest - Math.log(sum));
}

function entropyOf(logits: ArrayLike<number>): number {
  return logSoftmax(logits).reduce((sum, p) => (p > Number.NEGATIVE_INFINITY ? sum - Math.exp(p) * p : sum), 0);
}

/**
 * Error bound of an entropy H = log(S) + T / S, where S is a sum of exponentials, and T is a weighted sum of them.
 * An exponential is off by at most 2 ulp, or 4 × 2^-24, and up to 16 are added in float. So S and T have relative errors of at most
 * 20 × 2^-24. T / S is at most H.
 */
const entropyError = (entropy: number) => 20 * 2 ** -24 * (1 + 2 * entropy);

/** Returns the expected token, and how far a probability must change to give another token. */
function expected(row: Row): { token: number; margin: number } {
  const f = Math.fround;
  const logits = Array.from(row.logits);
  for (const [id, value] of row.bias) logits[id] = f(logits[id]! + f(value));
  for (const id of new Set(row.history))
    logits[id] = logits[id]! > 0 ? f(logits[id]! / f(row.repetition)) : f(logits[id]! * f(row.repetition));
  const generated = row.history.slice(row.promptLength);
  for (const id of new Set(generated)) {
    const times = generated.filter((v) => v === id).length;
    logits[id] = f(logits[id]! - (row.presence + row.frequency * times));
  }
  let left = logits.map((logit, id) => ({ id, logit, p: 0 })).sort((x, y) => y.logit - x.logit || x.id - y.id);
  if (row.temperature === 0) return { token: left[0]!.id, margin: 1 };
  for (const c of left) c.p = Math.exp((c.logit - left[0]!.logit) / row.temperature);
  let margin = 1;
  const total = () => left.reduce((s, c) => s + c.p, 0);
  if (row.topK > 0) left = left.slice(0, row.topK);
  if (row.topP < 1) {
    const wanted = row.topP * total();
    let before = 0;
    left = left.filter((c) => {
      margin = Math.min(margin, Math.abs(before - wanted) / wanted);
      const keep = before < wanted;
      before += c.p;
      return keep;
    });
  }
  if (row.minP > 0) left = left.filter((c, i) => i === 0 || c.p >= row.minP);
  const [w0, w1] = philox([row.counter, 0, 0, 0], row.seed) as [number, number];
  const uniform = Number(((BigInt(w1) << 32n) | BigInt(w0)) >> 11n) * 2 ** -53;
  const wanted = uniform * total();
  let mass = 0;
  for (const c of left) {
    mass += c.p;
    margin = Math.min(margin, Math.abs(mass - wanted) / total());
    if (mass > wanted) return { token: c.id, margin };
  }
  return { token: left.at(-1)!.id, margin: 0 };
}

function randomRow(vocabulary: number, seed: number): Row {
  const random = generator(seed);
  const pick = <T>(...options: T[]): T => options[Math.floor(random() * options.length)]!;
  const spread = pick(0.01, 3, 12);
  const round = random() < 0.2;
  const logits = Float32Array.from({ length: vocabulary }, () => {
    const v = (random() * 2 - 1) * spread;
    return round ? Math.round(v) : v;
  });
  if (random() < 0.2) for (let i = 1; i < vocabulary; i += 2) logits[i] = Number.NEGATIVE_INFINITY;
  const id = () => Math.floor(random() * vocabulary);
  const history = Array.from({ length: pick(0, 3, 20) }, id);
  return {
    logits,
    temperature: pick(0, 0.3, 0.7, 1, 1.6, 50),
    topK: pick(0, 0, 1, 5, 40, vocabulary, 2 * vocabulary),
    topP: pick(1, 1, 0.001, 0.5, 0.9, 0.99),
    minP: pick(0, 0, 0.05, 1),
    repetition: pick(1, 1, 1.25, 0.75),
    // These penalties are multiples of 1/4, so that `presence + frequency * times` is exact in float.
    presence: pick(0, 0, 0.5, -0.5),
    frequency: pick(0, 0, 0.25, -0.25),
    promptLength: pick(0, Math.floor(history.length / 2), history.length),
    history,
    bias: Array.from({ length: pick(0, 0, 3) }, () => [id(), pick(-2, 0.5, 4, Number.NEGATIVE_INFINITY)]),
    seed: [Math.floor((random() - 0.5) * 2 ** 32), Math.floor((random() - 0.5) * 2 ** 32)],
    counter: Math.floor(random() * 2 ** 31),
  };
}

describe("sample", () => {
  test("is tested against a Philox that matches the published test vectors", () => {
    const hex = (words: number[]) => words.map((w) => w.toString(16).padStart(8, "0")).join(" ");
    expect(hex(philox([0, 0, 0, 0], [0, 0]))).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
    expect(hex(philox([-1, -1, -1, -1], [-1, -1]))).toBe("408f276d 41c83b0e a20bc7c6 6d5451fd");
  });

  test.each([2, 50, 1000, 4001])(
    "equals the reference for random settings with a vocabulary of %i",
    async (vocabulary) => {
      const rows = Array.from({ length: vocabulary > 1000 ? 120 : 300 }, (_, i) => randomRow(vocabulary, i)).filter(
        (r) =>
          // a row without candidates is an error, tested elsewhere
          r.logits.some((v, id) => v > Number.NEGATIVE_INFINITY && !r.bias.some(([b, x]) => b === id && x < -1e9)),
      );
      const { token, logprob, topIds, topLogprobs, entropy } = await sampleRows(rows, 2);
      let judged = 0;
      rows.forEach((row, i) => {
        const logprobs = logSoftmax(row.logits);
        const best = logprobs
          .map((p, id) => ({ p, id }))
          .sort((a, b) => b.p - a.p || row.logits[b.id]! - row.logits[a.id]! || a.id - b.id);
        for (const k of [0, 1]) {
          expect(row.logits[topIds![2 * i + k]!]).toBe(row.logits[best[k]!.id]!);
          if (best[k]!.p > Number.NEGATIVE_INFINITY) expect(topLogprobs![2 * i + k]!).toBeCloseTo(best[k]!.p, 5);
        }
        const uncertainty = entropyOf(row.logits);
        expect(Math.abs(entropy![i]! - uncertainty)).toBeLessThan(entropyError(uncertainty));
        const { token: wanted, margin } = expected(row);
        if (margin < 1e-5) return; // float exponentials may fall on the other side of a threshold
        judged += 1;
        expect(token[i], `row ${i}: ${JSON.stringify({ ...row, logits: undefined })}`).toBe(wanted);
        expect(logprob[i]!).toBeCloseTo(logprobs[wanted]!, 5);
      });
      expect(judged).toBeGreaterThan(rows.length * 0.7);
    },
  );

  const ruledOut = Number.NEGATIVE_INFINITY;
  test.each<[string, number[], number?]>([
    ["a flat distribution", Array<number>(50_000).fill(3), Math.log(50_000)],
    [
      "two equal tokens among masked ones",
      [ruledOut, 7, ruledOut, 7, ...Array<number>(70).fill(ruledOut)],
      Math.log(2),
    ],
    ["a single token that is not masked", [...Array<number>(70).fill(ruledOut), -5, ruledOut], 0],
    ["a vocabulary of one", [42], 0],
    ["a token far above the others", [...Array<number>(999).fill(-40), 40]],
    ["a peaked distribution", [12, ...Array<number>(4000).fill(0)]],
    ["logits up to the largest floats", [3e38, 3e38, -3e38, 0], Math.log(2)],
    ["a slope", Array.from({ length: 1003 }, (_, id) => id / 7)],
  ])("reports the entropy of %s before temperature, bias and penalties", async (_, values, exact) => {
    const logits = Float32Array.from(values);
    const history = [values.indexOf(Math.max(...values))];
    const rows = [
      { ...plain, logits, temperature: 0 },
      { ...plain, logits },
      { ...plain, logits, temperature: 0.3, topK: 1 },
      { ...plain, logits, history, presence: 2, bias: [[history[0]!, -1] as [number, number]] },
    ];
    const wanted = exact ?? entropyOf(logits);
    for (const entropy of (await sampleRows(rows, 1)).entropy!) {
      expect(entropy).toBeGreaterThanOrEqual(0);
      expect(Math.abs(entropy - wanted)).toBeLessThanOrEqual(wanted === 0 ? 0 : entropyError(wanted));
    }
    expect(await sampleRows(rows)).not.toHaveProperty("entropy");
  });

  test("breaks ties by the lowest id", async () => {
    const logits = Float32Array.of(0, 3, -1, 3, 3);
    const { token, topIds } = await sampleRows([{ ...plain, logits, temperature: 0 }], 5);
    expect(token[0]).toBe(1);
    expect([...topIds!]).toEqual([1, 3, 4, 0, 2]);
    const { token: cut } = await sampleRows([{ ...plain, logits, topK: 1 }]);
    expect(cut[0]).toBe(1);
  });

  test("draws from the distribution", async () => {
    const logits = Float32Array.of(0.3, -1, 1.2, 0, -0.4, 0.9);
    const draws = 50_000;
    const { token } = await sampleRows(Array.from({ length: draws }, (_, counter) => ({ ...plain, logits, counter })));
    const seen = new Float64Array(logits.length);
    for (const t of token) seen[t] = seen[t]! + 1;
    const chi2 = logSoftmax(logits).reduce(
      (s, p, i) => s + (seen[i]! - draws * Math.exp(p)) ** 2 / (draws * Math.exp(p)),
      0,
    );
    expect(chi2).toBeLessThan(20.5); // 5 degrees of freedom: exceeded once in 1000 seeds, and the seed is fixed
  });

  test("draws each row independently of other rows", async () => {
    const rows = Array.from({ length: 9 }, (_, i) => randomRow(500, 100 + i));
    const together = await sampleRows(rows);
    for (const [i, row] of rows.entries()) expect((await sampleRows([row])).token[0]).toBe(together.token[i]);
  });

  test("never draws an excluded token", async () => {
    const logits = new Float32Array(64);
    const rows = Array.from({ length: 500 }, (_, counter) => ({
      ...plain,
      logits,
      counter,
      bias: Array.from({ length: 63 }, (_, i) => [i < 17 ? i : i + 1, Number.NEGATIVE_INFINITY] as [number, number]),
    }));
    expect(new Set((await sampleRows(rows)).token)).toEqual(new Set([17]));
  });
});
