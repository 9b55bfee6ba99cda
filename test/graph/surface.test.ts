// Every function, class and method of heddle/graph throws a HeddleError for invalid arguments, or works.
import { afterAll, expect, test } from "vitest";
import * as graph from "../../lib/graph/index.ts";
import type { Same } from "../helpers/same-type.ts";
import { type Anything, endOf, isClass, oddities } from "../helpers/surface.ts";

const device = graph.openDevice();
const weight = await graph.Tensor.from(device, "f32", [4], new Float32Array(4));
const other = graph.Tensor.zeros(device, "f32", [4]);
const program = graph.compile(() => {
  const product = graph.mul(graph.tensor("w", "f32", [4]), graph.input("x", "f32", [4]));
  return { product };
});
const executable = program.bind(device, new Map([["w", weight]]));
afterAll(() => {
  executable.dispose();
  for (const tensor of [weight, other]) tensor.dispose();
});

/** Values of a trace; ops only check their types. */
const values = graph.record(() => ({
  x: graph.input("x", "f32", [4, 8]),
  vector: graph.input("vector", "f32", [8]),
  one: graph.input("one", "f32", [1]),
  rows: graph.input("rows", "f32", [4]),
  heads: graph.input("heads", "f32", [4, 2, 8]),
  ids: graph.input("ids", "i32", [4]),
  noise: graph.input("noise", "i32", [3]),
  table: graph.input("table", "f32", [16, 8]),
  bytes: graph.input("bytes", "u8", [8, 8]),
  scales: graph.input("scales", "f32", [1, 1]),
  half: graph.input("half", "f32", [4]),
  cache: graph.input("cache", "f32", [1, 2, 16, 8]),
  segments: graph.input("segments", "i32", [1, 4]),
  experts: graph.input("experts", "f32", [3, 8, 8]),
  chosen: graph.input("chosen", "i32", [4, 2]),
  slots: graph.input("slots", "f32", [4, 2, 8]),
  shares: graph.input("shares", "f32", [4, 2]),
  params: graph.input("params", "f32", [4, 9]),
  history: graph.input("history", "i32", [4, 4]),
  biasIds: graph.input("biasIds", "i32", [4, 1]),
  biasValues: graph.input("biasValues", "f32", [4, 1]),
  rng: graph.input("rng", "i32", [4, 3]),
  hyper: graph.input("hyper", "f32", [7]),
})).result;
const { x, vector, one, rows, heads, ids, noise, table, cache, segments, experts, chosen, slots, shares } = values;

/** Valid arguments of each function. An exported function missing here fails the test. */
const taken: Record<string, unknown[]> = {
  abs: [x],
  accumulate: [x, x, one],
  adamw: [{ parameter: x, gradient: x, m: x, v: x, hyper: values.hyper, factor: one }, { decay: true }],
  add: [x, x],
  affine: [x, 2, 1],
  allGatherTensors: [device, [[other]]],
  allReduceNumbers: [device, [1]],
  allReduceTensors: [device, [other]],
  assign: [x, x],
  attention: [
    { q: heads, k: heads, v: heads, documents: ids, sinks: undefined },
    { causal: true, window: 2, scale: 1, softcap: 2, sequenceLength: 4, activations: "int8" },
  ],
  broadcast: [one, [2, 2], "f32"],
  bytesOf: ["f32"],
  cacheWrite: [cache, heads, segments, { ring: 0, pages: undefined }],
  cachedAttention: [
    { q: heads, cacheK: cache, cacheV: cache, segments, sinks: undefined, pages: undefined },
    { context: 16, ring: 0, activations: "int8" },
  ],
  cast: [x, "bf16"],
  clamp: [x, { low: 0, high: 1 }],
  clipFactor: [one, one],
  columnSum: [x],
  combineExperts: [slots, shares],
  compile: [() => ({ y: graph.input("y", "f32", [4]) })],
  concat: [[x, x]],
  crossEntropy: [
    x,
    { weight: table, softcap: 2, scale: 1, activations: "f32" },
    ids,
    rows,
    { zLoss: 1e-4, labelSmoothing: 0 },
  ],
  deviceInfo: [],
  dropout: [x, noise, { p: 0.1, stream: 1 }],
  embedding: [table, ids, { scale: 1, dtype: "f32" }],
  exp: [x],
  expertLinear: [x, experts, chosen, { bias: undefined, rowwise: true }],
  formatProfile: [
    { seconds: 1, operations: [] },
    { rows: 3, width: 80 },
  ],
  fp8Linear: [x, values.bytes, values.scales, undefined, { rowwise: true, activations: "int8" }],
  gatherRows: [x, ids],
  gelu: [x, { approximate: "tanh" }],
  globalNorm: [[x]],
  glu: [x, x, "gelu"],
  gradients: [one, [x], one, { recompute: true, allowUnused: true, collect() {} }],
  input: ["i", "f32", [4]],
  isFloat: ["f32"],
  isQuantized: ["q8_0"],
  joinCollective: [device, new Uint8Array(128), 0, 1],
  joinResidual: [x, x],
  layerNorm: [x, vector, { eps: 1e-5, bias: vector, residual: x }],
  linear: [x, table, undefined, { transposed: false, rowwise: true, activations: "int8" }],
  log: [x],
  log1mexp: [x],
  logSigmoid: [x],
  logSoftmax: [x],
  logitsOf: [x, { weight: table, softcap: 2, scale: 1, activations: "f32" }, { rowwise: true }],
  maximum: [x, x],
  minimum: [x, x],
  mul: [x, x],
  newCollectiveId: [],
  opNames: [],
  openDevice: [{ device: "cpu", threads: 1, allowTf32: false }],
  profile: [() => 1],
  reciprocal: [x],
  recomputable: [() => x],
  record: [() => x],
  reduceScatterTensors: [device, [[other]]],
  relu: [x],
  reshape: [x, [8, 4]],
  rmsNorm: [x, vector, { eps: 1e-5, offset: 1, residual: x }],
  rope: [heads, ids, values.half, { interleaved: "input", scale: 1 }],
  ropeFrequencies: [values.half, 16, { original: 8, long: values.half, factor: 2 }],
  routeExperts: [x, { k: 2, normalize: true }],
  sample: [
    {
      logits: x,
      params: values.params,
      history: values.history,
      biasIds: values.biasIds,
      biasValues: values.biasValues,
      rng: values.rng,
    },
    { top: 1 },
  ],
  scale: [x, 2],
  segmentSum: [x, ids, 3],
  sigmoid: [x],
  softcap: [x, 30],
  softmax: [x],
  softplus: [x],
  split: [x, [4, 4]],
  allGather: [x, { first: 0, ends: [4], shape: [4], dtype: "f32" }],
  allReduce: [x, { ends: [4] }],
  reduceScatter: [x, x, { first: 0, ends: [4], add: true }],
  squareSums: [x, { piece: 64 }],
  sqrt: [x],
  stopGradient: [x],
  sub: [x, x],
  sum: [x],
  swiglu: [x, x],
  tanh: [x],
  tensor: ["t", "f32", [4]],
  toBf16: [new Float32Array(2)],
  toFloat32: ["bf16", new Uint16Array(2)],
  tokenLogprob: [x, table, ids, { softcap: 2, scale: 1 }],
  transposedProduct: [x, x],
  uniformNoise: [x, noise, { scale: 0.1, stream: 1 }],
};
const exported = Object.entries(graph as Record<string, unknown>).filter(([, value]) => typeof value === "function");

test("the table covers every exported function", () => {
  const functions = exported.filter(([, value]) => !isClass(value)).map(([name]) => name);
  expect(Object.keys(taken).sort()).toEqual(functions.sort());
  expect(
    exported
      .filter(([, value]) => isClass(value))
      .map(([name]) => name)
      .sort(),
  ).toEqual(Object.keys(classes).sort());
});

/** Replaces each argument and each option by every odd value in turn. */
function* mistakes(args: readonly unknown[], places: number): Generator<[string, unknown[]]> {
  for (let place = 0; place < places; place++)
    for (const [what, value] of oddities) {
      yield [`${what} as argument ${place}`, args.with(place, value)];
      yield [`${what} as the last argument, ${place}`, [...args.slice(0, place), value]];
    }
  for (const [place, arg] of args.entries())
    if (typeof arg === "object" && arg !== null && Object.getPrototypeOf(arg) === Object.prototype)
      for (const name of Object.keys(arg))
        for (const [what, value] of oddities) yield [`${name}: ${what}`, args.with(place, { ...arg, [name]: value })];
}

const kept = new Set<unknown>([executable, weight, other]);
async function wrongEnds(call: Anything, args: readonly unknown[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const [what, given] of mistakes(args, args.length)) {
    const end = await endOf(() => call(...given), kept);
    if (end !== undefined) wrong.push(`${what}: ${end}`);
  }
  return wrong;
}

const functions = exported.filter(([, value]) => !isClass(value)) as [string, Anything][];
test.each(functions)("function %s rejects invalid arguments", async (name, call) => {
  // Call each function inside a trace, which ops need, and outside, where other functions create their own.
  expect(await wrongEnds((...args) => graph.record(() => call(...args)).result, taken[name]!)).toEqual([]);
  expect(await wrongEnds(call, taken[name]!)).toEqual([]);
});

/** Functions that need more than a trace. */
const needMore = /Collective|allReduce|allGather|reduceScatter|gradients|compile|record|profile/i;
test.each(functions.filter(([name]) => taken[name]!.length > 0 && !needMore.test(name)))(
  "function %s accepts valid arguments",
  (name, call) => {
    expect(() => graph.record(() => call(...taken[name]!))).not.toThrow();
  },
);

const type = { dtype: "f32", shape: [4] };
/** Constructor arguments of each class; undefined if only functions create it. */
const classes: Record<string, unknown[] | undefined> = {
  Device: undefined,
  Dimension: ["rows", 4],
  Ranks: undefined,
  Tensor: undefined,
  Value: [type, { kind: "input", name: "x" }],
};
const made = Object.entries(classes).filter(([, args]) => args !== undefined) as [string, unknown[]][];
test.each(made)("new %s rejects invalid arguments", async (name, args) => {
  const Made = Reflect.get(graph, name) as new (...args: unknown[]) => unknown;
  expect(await wrongEnds((...given) => new Made(...given), args)).toEqual([]);
});

const { Tensor } = graph;
const methods: [string, object, string, unknown[]][] = [
  ["Tensor.zeros", Tensor, "zeros", [device, "f32", [4]]],
  ["Tensor.from", Tensor, "from", [device, "f32", [4], new Float32Array(4)]],
  ["Tensor.fp8", Tensor, "fp8", [Tensor.zeros(device, "u8", [8, 8]), Tensor.zeros(device, "f32", [1, 1])]],
  ["tensor.read", other, "read", [0, 2]],
  ["tensor.readBytes", other, "readBytes", [0, 4]],
  ["tensor.writeBytes", other, "writeBytes", [new Uint8Array(4), 0]],
  ["tensor.write", other, "write", [new Float32Array(2), 0]],
  ["tensor.copyFrom", other, "copyFrom", [weight]],
  ["tensor.toFloat32", other, "toFloat32", []],
  ["value.dim", x, "dim", [0]],
  ["program.bind", program, "bind", [device, new Map([["w", weight]])]],
  ["program.bind", program, "bind", [device, new Map([["w", 3]])]],
  ["executable.run", executable, "run", [{ x: new Float32Array(4) }, { signal: undefined }]],
];
test.each(methods)("method %s rejects invalid arguments", async (_, object, name, args) => {
  const call = Reflect.get(object, name) as Anything;
  expect(await wrongEnds((...given) => call.apply(object, given), args)).toEqual([]);
});

test("deviceInfo returns the exported DeviceInfo type", () => {
  const same: Same<ReturnType<typeof graph.deviceInfo>, graph.DeviceInfo> = true;
  const { version, cpu, cuda } = graph.deviceInfo();
  expect([same, typeof version, typeof cuda.built]).toEqual([true, "string", "boolean"]);
  expect(cpu.supported).toContain(cpu.isa);
});

test("error messages state expected and actual values", async () => {
  const wrong = (call: () => unknown) => expect(Promise.resolve().then(call)).rejects;
  await wrong(() => executable.run({ x: new Float32Array(4) }, null as never)).toThrow(
    /^run: options: expected an object, got null$/,
  );
  await wrong(() => graph.recomputable(undefined as never)).toThrow(
    /^recomputable: expected a function, got undefined$/,
  );
  await wrong(() => graph.toBf16(undefined as never)).toThrow(/^data: expected an array of numbers, got undefined$/);
  await wrong(() => Tensor.fp8(undefined as never, weight)).toThrow(/^bytes: expected a Tensor, got undefined$/);
  await wrong(() => weight.copyFrom(null as never)).toThrow(/^source: expected a Tensor, got null$/);
  await wrong(() => weight.read(3n as never)).toThrow(/^start: expected a whole number of at least 0, got 3n$/);
  await wrong(() => x.dim(3n as never)).toThrow(/^dim: expected a whole number, got 3n$/);
  await wrong(() => new graph.Value(undefined as never, undefined as never)).toThrow(
    /^value: expected a dtype and a shape/,
  );
  await wrong(() => new graph.Dimension(Symbol() as never, 3)).toThrow(
    /^dimension: name: expected a string, got Symbol\(\)$/,
  );
  await wrong(() => graph.allReduceNumbers(undefined as never, [])).toThrow(
    /^device: expected a Device, .* got undefined$/,
  );
});
