import { expect, test } from "vitest";
import {
  add,
  attention,
  cachedAttention,
  compile,
  Dimension,
  type DType,
  input,
  linear,
  openDevice,
  reshape,
  sample,
  scale,
  split,
  Tensor,
  tensor,
  type Value,
} from "../../lib/graph/index.ts";
import { HeddleError } from "../../lib/index.ts";

const x = () => input("x", "f32", [4, 8]);
const held = Tensor.from(openDevice(), "f32", [4, 8], new Float32Array(32));
let stray: Value | undefined;
compile(() => {
  stray = scale(x(), 2);
  return { stray };
});

const heads = (name: string) => input(name, "f32", [4, 2, 8]);
const caches = {
  q: () => heads("q"),
  cacheK: () => tensor("k", "f32", [1, 2, 16, 8]),
  cacheV: () => tensor("v", "f32", [1, 2, 16, 8]),
  segments: () => input("segments", "i32", [1, 4]),
};
const cached = (options: object) =>
  cachedAttention(
    { q: caches.q(), cacheK: caches.cacheK(), cacheV: caches.cacheV(), segments: caches.segments() },
    options,
  );
const drawn = (top: unknown) =>
  sample(
    {
      logits: input("logits", "f32", [1, 8]),
      params: input("params", "f32", [1, 9]),
      history: input("history", "i32", [1, 4]),
      biasIds: input("ids", "i32", [1, 1]),
      biasValues: input("values", "f32", [1, 1]),
      rng: input("rng", "i32", [1, 3]),
    },
    { top: top as number },
  ).token;

const misspelt = (given: object) => given as never;
test.each<[string, RegExp, () => unknown]>([
  [
    "a misspelt option",
    /^attention: options: expected causal, window, .* got windw$/,
    () => ({ y: attention({ q: heads("q"), k: heads("k"), v: heads("v") }, misspelt({ windw: 2 })) }),
  ],
  [
    "a misspelt operand",
    /^attention: operands: expected q, k, v, documents, sinks, got document$/,
    () => ({ y: attention(misspelt({ q: heads("q"), k: heads("k"), v: heads("v"), document: 1 })) }),
  ],
  [
    "null options",
    /^linear: options: expected an object, got null$/,
    () => ({ y: linear(x(), x(), undefined, misspelt(null!)) }),
  ],
  [
    "a missing value",
    /^reshape: x: expected a value of the graph, .* got undefined$/,
    () => ({ y: reshape(misspelt(undefined!), [2]) }),
  ],
  [
    "a number instead of an array",
    /^split: widths: expected an array, got 3$/,
    () => ({ y: split(x(), misspelt(3 as never))[0]! }),
  ],
  [
    "a negative dimension",
    /^input x: shape: expected whole numbers .* got \(-1, 8\)$/,
    () => ({ y: input("x", "f32", [-1, 8]) }),
  ],
  [
    "a fractional dimension",
    /^tensor w: shape: expected whole numbers .* got \(1\.5\)$/,
    () => ({ y: tensor("w", "f32", [1.5]) }),
  ],
  [
    "sizes that are not numbers",
    /^input x: shape: expected whole numbers .* got \(1n, Symbol\(n\)\)$/,
    // biome-ignore lint/suspicious/noExplicitAny: a mistake
    () => ({ y: input("x", "f32", [1n, Symbol("n")] as any) }),
  ],
  ["a shape of too many elements", /^input x: shape/, () => ({ y: input("x", "f32", [2 ** 40, 2 ** 40]) })],
  [
    "a shape that is a number",
    /^input x: shape: expected an array .* got 4$/,
    () => ({ y: input("x", "f32", 4 as never) }),
  ],
  [
    "an unknown type",
    /^input x: dtype: expected one of f32, .* got "f64"$/,
    () => ({ y: input("x", "f64" as DType, [4]) }),
  ],
  [
    "a name that is not a string",
    /^input: name: expected a string, got 3$/,
    () => ({ y: input(3 as never, "f32", [4]) }),
  ],
  ["a dimension of -1, as in PyTorch", /^reshape: /, () => ({ y: reshape(x(), [-1, 4]) })],
  [
    "two negative dimensions",
    /^reshape: shape: expected whole numbers .* got \(-8, -4\)$/,
    () => ({ y: reshape(x(), [-8, -4]) }),
  ],
  ["a negative width", /^split: shape/, () => ({ y: split(x(), [10, -2])[0] })],
  ["a fractional number of candidates", /^sample: shape: .* got \(1, 1\.5\)$/, () => ({ y: drawn(1.5) })],
  [
    "a fractional context length",
    /^cached_attention: context: expected an integer, got 1\.5$/,
    () => ({ y: cached({ context: 1.5 }) }),
  ],
  [
    "a context length of NaN",
    /^cached_attention: context: expected a number, got NaN$/,
    () => ({ y: cached({ context: NaN }) }),
  ],
  [
    "a negative context length",
    /^cached_attention: context: expected .*, got -1$/,
    () => ({ y: cached({ context: -1 }) }),
  ],
  [
    "a window that is too large",
    /^cached_attention: window: expected a number in \[0, 2147483648\], got 1e\+300$/,
    () => ({ y: cached({ window: 1e300 }) }),
  ],
  [
    "a scale that is a string",
    /^attention: scale: expected a number, got "2"$/,
    () => ({
      y: attention({ q: heads("q"), k: heads("k"), v: heads("v") }, { sequenceLength: 4, scale: "2" as never }),
    }),
  ],
  [
    "a number instead of a value",
    /^add: operand 1: expected a value of the graph, .* got 2$/,
    () => ({ y: add(x(), 2 as never) }),
  ],
  [
    "a tensor instead of a value",
    /^linear: weight: expected a value of the graph, .* got a Promise$/,
    () => ({ y: linear(x(), held as never) }),
  ],
  [
    "a value of another program",
    /^compile: expected values that its function makes, got f32\(4, 8\) of another function$/,
    () => ({ y: add(x(), stray!) }),
  ],
  ["a result of another program", /^compile: expected values that its function makes/, () => ({ y: stray })],
  [
    "a function that returns undefined",
    /^compile: the function's result: expected an object of named values, got undefined$/,
    () => undefined,
  ],
  [
    "a value instead of an object of values",
    /^compile: the function's result: dtype: expected a value of the graph, got "f32"$/,
    () => x(),
  ],
  [
    "a function that returns a promise",
    /^compile: the function's result: expected an object of named values, got a Promise$/,
    async () => ({ y: x() }),
  ],
  [
    "a result that is not a value",
    /^compile: the function's result: y: expected a value of the graph, got 3$/,
    () => ({ y: 3 }),
  ],
  [
    "compile inside compile",
    /^compile: expected to be called outside another compile\(\), got a call inside$/,
    () => compile(() => ({ y: x() })),
  ],
])("%s is reported as the caller's error", (_, message, build) => {
  let caught: unknown;
  try {
    compile(build as () => Record<string, Value>);
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(HeddleError);
  const { code, message: text } = caught as HeddleError;
  expect(text).toMatch(message);
  expect(["INVALID_ARGUMENT", "SHAPE_MISMATCH"]).toContain(code);
});

test("bind requires a map of tensors", () => {
  const program = compile(() => ({ y: scale(tensor("w", "f32", [4]), 2) }));
  for (const given of [undefined, {}, [], 3])
    expect(() => program.bind(openDevice(), given as never)).toThrow(
      /^tensors: expected a Map from names to tensors, got /,
    );
});

test("compile rejects a non-function, and compiles the next program", async () => {
  expect(() => compile(3 as never)).toThrow(/^compile: expected a function, got 3$/);
  const program = compile(() => ({ y: scale(input("x", "f32", [new Dimension("rows", 4), 2]), 2) }));
  const executable = program.bind(openDevice(), new Map());
  expect((await executable.run({ x: Float32Array.of(1, 2) })).y).toEqual(Float32Array.of(2, 4));
});

test("compile rejects an async function and handles its rejection", async () => {
  const unheard: unknown[] = [];
  const note = (reason: unknown) => unheard.push(reason);
  process.on("unhandledRejection", note);
  try {
    const build = async () => {
      throw new Error("later");
    };
    // biome-ignore lint/suspicious/noExplicitAny: a mistake
    expect(() => compile(build as any)).toThrow(/got a Promise$/);
    await new Promise((resolve) => setTimeout(resolve, 10));
  } finally {
    process.off("unhandledRejection", note);
  }
  expect(unheard).toEqual([]);
});
