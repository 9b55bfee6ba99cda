import { expect, test } from "vitest";
import { compile, globalNorm, openDevice, Tensor, tensor } from "../../lib/graph/index.ts";
import { Optimizer } from "../../lib/optim/optimizer.ts";
import { type Piece, partition, rangesOf } from "../../lib/optim/partition.ts";
import { SharedNorm, squarePiece } from "../../lib/optim/square-sums.ts";

const device = openDevice();
const shared = (name: string, elements: number, whole = false) => ({ name, elements, whole, state: whole ? 1 : 2 });

test("every element belongs to one rank, ranks have about equal optimizer state, and Muon's matrices stay whole", () => {
  const parameters = [
    shared("embedding", 5_000_000),
    ...Array.from({ length: 6 }, (_, i) => shared(`up.${i}`, 900_000, true)),
    ...Array.from({ length: 6 }, (_, i) => shared(`norm.${i}`, 700)),
    shared("head", 4_999_999),
  ];
  const total = parameters.reduce((sum, { elements, state }) => sum + elements * state, 0);
  for (const ranks of [1, 2, 3, 8]) {
    const parts = partition(parameters, ranks);
    expect(parts).toHaveLength(ranks);
    for (const { name, elements, whole } of parameters) {
      const pieces = parts.flat().filter((piece) => piece.name === name);
      const inOrder = pieces.toSorted((a, b) => a.start - b.start);
      let next = 0;
      for (const { start, count } of inOrder) {
        expect(start).toBe(next);
        expect(start % squarePiece(elements)).toBe(0);
        next += count;
      }
      expect(next).toBe(elements);
      if (whole) expect(pieces).toHaveLength(1);
    }
    for (const pieces of parts) {
      const state = pieces.reduce(
        (sum, { name, count }) => sum + count * parameters.find((p) => p.name === name)!.state,
        0,
      );
      expect(Math.abs(state - total / ranks)).toBeLessThanOrEqual(2 * squarePiece(5_000_000));
    }
  }
});

test("every rank has a similar part of every large parameter, so that all ranks share the work of summing its gradient", () => {
  const parameters = [...Array.from({ length: 9 }, (_, i) => shared(`up.${i}`, 720_896)), shared("norm", 512)];
  for (const ranks of [2, 7, 32]) {
    const parts = partition(parameters, ranks);
    for (const { name, elements } of parameters.slice(0, -1)) {
      const counts = parts.map((pieces) => pieces.find((piece) => piece.name === name)?.count ?? 0);
      expect(Math.max(...counts)).toBeLessThanOrEqual(elements / ranks + 2 * squarePiece(elements));
      expect(Math.min(...counts)).toBeGreaterThan(0);
      const { first, ends } = rangesOf(name, parts);
      expect([first, ends.length, ends.at(-1)]).toEqual([0, ranks, elements]);
      expect(ends.map((end, rank) => end - (ends[rank - 1] ?? 0))).toEqual(counts);
    }
    expect(rangesOf("norm", parts)).toMatchObject({ ends: [512] });
  }
});

test("more ranks than pieces leave some ranks without any", () => {
  const parts = partition([shared("a", 3), shared("b", 5)], 4);
  expect(parts.flat().toSorted((a, b) => a.name.localeCompare(b.name))).toEqual([
    { name: "a", start: 0, count: 3 },
    { name: "b", start: 0, count: 5 },
  ]);
});

/** An in-process all-reduce: each call waits for the calls of all ranks, then returns the sums over ranks. */
function meetings(size: number) {
  let given: (readonly number[])[] = [];
  let waiting: ((all: (readonly number[])[]) => void)[] = [];
  return async (values: readonly number[]) => {
    given.push(values);
    const all = await new Promise<(readonly number[])[]>((go) => {
      waiting.push(go);
      if (given.length < size) return;
      for (const one of waiting) one(given);
      [given, waiting] = [[], []];
    });
    return values.map((_, i) => all.reduce((n, own) => n + own[i]!, 0));
  };
}

test("SharedNorm equals globalNorm bit for bit, also if a tensor is split over ranks, and is infinite if a gradient is", async () => {
  const sizes = { small: 100, cut: 7 * 16_384 + 5, large: 257 * 65_536, last: 1 };
  const gradients = new Map<string, Tensor>();
  let seed = 1;
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647 - 0.5;
  };
  for (const [name, size] of Object.entries(sizes))
    gradients.set(name, await Tensor.fromOwn(device, "f32", [size], Float32Array.from({ length: size }, random)));
  const program = compile(() => ({
    norm: globalNorm([...gradients].map(([name, t]) => tensor(name, "f32", t.shape))),
  }));
  const bound = program.bind(device, gradients);
  const expected = (await bound.run({})).norm[0];
  const elements = new Map(Object.entries(sizes));
  const parameters = Object.entries(sizes).map(([name, size]) => shared(name, size));
  for (const ranks of [1, 3]) {
    const parts = partition(parameters, ranks);
    const sum = meetings(ranks);
    const norms = parts.map((pieces, rank) => {
      const own = new Map(pieces.map(({ name, start, count }) => [name, gradients.get(name)!.part(start, count)]));
      return new SharedNorm(device, own, { elements, parts, rank, sum });
    });
    expect(await Promise.all(norms.map((norm) => norm.value()))).toEqual(parts.map(() => expected));
    for (const norm of norms) norm.dispose();
  }
  await gradients.get("small")!.write(Float32Array.of(Number.POSITIVE_INFINITY), 7);
  const parts: readonly (readonly Piece[])[] = partition(parameters, 1);
  const norm = new SharedNorm(device, gradients, { elements, parts, rank: 0, sum: async (values) => [...values] });
  expect(await norm.value()).toBe(Number.POSITIVE_INFINITY);
});

test("two ranks, each with half of the moments, compute the same weights as one process", async () => {
  const shapes = { "a.weight": [300, 100], "b.weight": [64, 32], "norm.weight": [32] };
  const numbers = (name: string, count: number, seed: number) =>
    Float32Array.from({ length: count }, (_, i) => Math.sin(name.length + seed + i * 1.3));
  const parametersOf = async () => {
    const found = new Map<string, Tensor>();
    for (const [name, shape] of Object.entries(shapes)) {
      const count = shape.reduce((a, b) => a * b, 1);
      found.set(name, await Tensor.fromOwn(device, "f32", shape, numbers(name, count, 0)));
    }
    return found;
  };
  const muon = { names: new Set(["b.weight"]), rateRatio: 10 };
  const run = async (size: number) => {
    const sum = meetings(size);
    const parameters = await parametersOf();
    const optimizers = Array.from({ length: size }, (_, rank) => {
      return new Optimizer(device, parameters, { muon, ranks: size > 1 ? { rank, size, sum } : undefined });
    });
    for (let t = 1; t <= 3; t++) {
      for (const { gradients } of optimizers)
        for (const [name, tensor] of gradients) await tensor.writeOwn(numbers(name, tensor.elements, t));
      await Promise.all(optimizers.map((optimizer) => optimizer.step(1e-2)));
    }
    const weights: Record<string, Float32Array> = {};
    for (const [name, tensor] of parameters) weights[name] = await tensor.toFloat32();
    return {
      weights,
      moments: optimizers.map(({ moments }) => [...moments.values()].reduce((n, t) => n + t.elements, 0)),
    };
  };
  const alone = await run(1);
  const both = await run(2);
  expect(both.weights).toEqual(alone.weights);
  expect(both.moments.reduce((a, b) => a + b)).toBe(alone.moments[0]);
  // A piece has 16,384 elements, of two moments each.
  for (const own of both.moments) expect(Math.abs(own - alone.moments[0]! / 2)).toBeLessThanOrEqual(2 * 16_384);
});
