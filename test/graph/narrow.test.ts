// Programs keep values in bf16 if only products with bf16 weights read them. CPU programs fuse gelu into a product. Both save bandwidth
// without changing a bit. On the CPU, this is checked against programs that also return the intermediate values and thus keep them in f32.
import { describe, expect, test } from "vitest";
import {
  add,
  attention,
  combineExperts,
  compile,
  Dimension,
  expertLinear,
  gelu,
  input,
  layerNorm,
  linear,
  openDevice,
  profile,
  reshape,
  rmsNorm,
  routeExperts,
  swiglu,
  Tensor,
  tensor,
  type Value,
} from "../../lib/graph/index.ts";
import { fuseActivations, fuseEpilogues } from "../../lib/graph/passes/fuse-epilogues.ts";
import { narrow } from "../../lib/graph/passes/keep-bf16.ts";
import { record } from "../../lib/graph/trace.ts";
import { generator } from "../ops/harness.ts";

const [width, inner, heads] = [96, 208, 3];
const most = 400;

const weight = (name: string, n = width, k = width) => tensor(name, "bf16", [n, k]);
const vector = (name: string, n = width) => tensor(name, "f32", [n]);
const product = (x: Value, w: Value, bias?: Value) => linear(x, w, bias, { activations: "int8" });
const hidden = (rows: number | Dimension = 8) => input("x", "f32", [rows, width]);

/** An encoder block with its intermediate values by name. */
function block(x: Value) {
  const rows = x.dim(0);
  const norm = layerNorm(x, vector("n"), { eps: 1e-5, bias: vector("c") }).y;
  const project = (name: string) => reshape(product(norm, weight(name), vector("c")), [rows, heads, width / heads]);
  const [q, k, v] = [project("q"), project("k"), project("v")];
  const seen = reshape(attention({ q, k, v }, { activations: "int8", causal: false }), [rows, width]);
  const attended = product(seen, weight("o"));
  const again = rmsNorm(attended, vector("n"), { eps: 1e-5, residual: x });
  const before = product(again.y, weight("up", inner, width), vector("b", inner));
  const wide = gelu(before, { approximate: "none" });
  const y = product(wide, weight("down", width, inner));
  const gate = product(y, weight("gate", inner, width));
  const gated = swiglu(gate, product(y, weight("lift", inner, width)));
  return { norm, q, k, v, seen, again: again.y, before, wide, gated, y: product(gated, weight("down", width, inner)) };
}

/** Returns the nodes that are left after `fuse` and `narrow`, with their output types. */
function narrowed(build: () => Value | Record<string, Value>, fuse = fuseActivations): string[] {
  const { trace, result } = record(build);
  const results =
    result instanceof Object && !("dtype" in result)
      ? Object.values(result as Record<string, Value>)
      : [result as Value];
  return narrow(fuse(trace.nodes, results), results, fuse === fuseEpilogues).map(
    (n) => `${n.op}${n.attributes.bf16 ? " rounds" : ""} → ${n.outputs.map((v) => v.dtype).join(" ")}`,
  );
}

describe("intermediate values of a program", () => {
  test("are kept in bf16 if only products read them, also through views", () => {
    expect(narrowed(() => block(hidden()).y)).toEqual([
      "layer_norm → bf16",
      ...Array(3).fill(["linear → bf16", "reshape → bf16"]).flat(),
      "attention → bf16 f32",
      "reshape → bf16",
      "linear → f32",
      "rms_norm → bf16 f32",
      "linear_activation → bf16",
      "linear → f32",
      "linear rounds → f32",
      "linear rounds → f32",
      "glu → bf16",
      "linear → f32",
    ]);
  });
  test("are kept in bf16 between fused products of a CUDA program too", () => {
    const decoder = () => {
      const x = hidden();
      const { y: norm } = rmsNorm(x, vector("n"), { eps: 1e-5 });
      const onto = add(x, product(swiglu(product(norm, weight("a")), product(norm, weight("b"))), weight("c")));
      return add(onto, product(rmsNorm(onto, vector("n"), { eps: 1e-5 }).y, weight("d")));
    };
    expect(narrowed(decoder, fuseEpilogues)).toEqual([
      "rms_norm → bf16",
      "linear_glu → bf16",
      "linear_add → f32",
      "rms_norm → bf16",
      "linear_add → f32",
    ]);
  });
  test("are kept in bf16 if only a router and experts with int8 activations read them, with quantized weights on CUDA only", () => {
    const experts =
      (activations: "int8" | "f32", type: "bf16" | "q8_0" = "bf16") =>
      () => {
        const { y: norm } = rmsNorm(hidden(), vector("n"), { eps: 1e-5 });
        const { weights, experts: chosen } = routeExperts(product(norm, weight("router", 4)), {
          k: 2,
          normalize: true,
        });
        const stack = (name: string) => tensor(name, type, [4, width, width]);
        const project = (v: Value, name: string) => expertLinear(v, stack(name), chosen, { activations });
        const inner = swiglu(project(norm, "gate"), project(norm, "up"));
        return combineExperts(project(inner, "down"), weights);
      };
    expect(narrowed(experts("int8"))).toEqual([
      "rms_norm → bf16",
      "linear → f32",
      "route_experts → f32 i32",
      "expert_linear → f32",
      "expert_linear → f32",
      "glu → bf16",
      "expert_linear → f32",
      "combine_experts → f32",
    ]);
    expect(narrowed(experts("f32"))[0]).toBe("rms_norm → f32");
    expect(narrowed(experts("int8", "q8_0"))[0]).toBe("rms_norm → f32");
    expect(narrowed(experts("int8", "q8_0"), fuseEpilogues)[0]).toBe("rms_norm → bf16");
  });
  test("stay in f32 if a result, a sum or an f32 product needs them", () => {
    const w = () => weight("w");
    expect(
      narrowed(() => {
        const { y: norm } = rmsNorm(hidden(), vector("n"), { eps: 1e-5 });
        return { norm, y: product(norm, w()) };
      }),
    ).toEqual(["rms_norm → f32", "linear rounds → f32"]);
    expect(narrowed(() => linear(rmsNorm(hidden(), vector("n"), { eps: 1e-5 }).y, w()))).toEqual([
      "rms_norm → f32",
      "linear → f32",
    ]);
    expect(
      narrowed(() => {
        const { y: norm } = rmsNorm(hidden(), vector("n"), { eps: 1e-5 });
        return rmsNorm(product(norm, w()), vector("n"), { eps: 1e-5, residual: norm }).y;
      }),
    ).toEqual(["rms_norm → f32", "linear rounds → f32", "rms_norm → f32 f32"]);
    expect(narrowed(() => product(hidden(), w()))).toEqual(["linear rounds → f32"]);
  });
  test("are kept in bf16 if they are q, k and v, and only an attention with int8 activations reads them", () => {
    const project = (name: string) => reshape(product(hidden(), weight(name)), [8, heads, width / heads]);
    const build = (activations: "int8" | "f32") => () =>
      attention({ q: project("q"), k: project("k"), v: project("v") }, { activations });
    expect(narrowed(build("int8")).at(-1)).toBe("attention → f32 f32");
    expect(narrowed(build("int8"))[0]).toBe("linear rounds → bf16");
    expect(narrowed(build("f32"))[0]).toBe("linear rounds → f32");
    const shared = () => {
      const q = project("q");
      return { y: attention({ q, k: project("k"), v: project("v") }, { activations: "int8" }), q };
    };
    expect(narrowed(shared).at(-1)).toBe("attention rounds → f32 f32");
  });
  test("are not fused with gelu if they are bf16, or if the product or its operand has other readers", () => {
    const up = (x: Value) => linear(x, weight("up", inner, width));
    expect(
      narrowed(() => {
        const z = up(hidden());
        return { z, y: gelu(z) };
      }),
    ).toEqual(["linear → f32", "gelu → f32"]);
    expect(
      narrowed(() => {
        const x = hidden();
        return { y: gelu(up(x)), z: linear(x, weight("q")) };
      }),
    ).toEqual(["linear → f32", "gelu → f32", "linear → f32"]);
    expect(narrowed(() => gelu(up(hidden())))).toEqual(["linear_activation → f32"]);
    const inBf16 = () => gelu(up(input("b", "bf16", [8, width])));
    expect(narrowed(inBf16)).toEqual(["linear → bf16", "gelu → bf16"]);
  });
});

const random = generator(5);
const numbers = (n: number, size = 1) => Float32Array.from({ length: n }, () => (random() - 0.5) * size);
const rounded = (data: Float32Array) => Uint16Array.from(new Uint32Array(data.buffer), (bits) => bits >>> 16);
const shapes = {
  q: [width, width],
  k: [width, width],
  v: [width, width],
  o: [width, width],
  up: [inner, width],
  gate: [inner, width],
  lift: [inner, width],
  down: [width, inner],
};
const weights = Object.entries(shapes).map(
  ([name, shape]) => [name, shape, rounded(numbers(shape[0]! * shape[1]!, 0.5))] as const,
);
const vectors = Object.entries({ n: width, c: width, b: inner }).map(([name, n]) => [name, [n], numbers(n)] as const);

async function run(threads: number, kept: readonly string[], x: Float32Array) {
  const device = openDevice({ threads });
  const program = compile(() => {
    const values: Record<string, Value> = block(hidden(new Dimension("rows", most)));
    return Object.fromEntries(["y", ...kept].map((name) => [name, values[name]!]));
  });
  const tensors = new Map<string, Tensor>();
  for (const [name, shape, data] of weights) tensors.set(name, await Tensor.from(device, "bf16", shape, data));
  for (const [name, shape, data] of vectors) tensors.set(name, await Tensor.from(device, "f32", shape, data));
  const executable = program.bind(device, tensors);
  const {
    result: { y },
    profile: times,
  } = await profile(() => executable.run({ x }));
  return {
    bits: Array.from(new Uint32Array((y as Float32Array).slice().buffer)),
    ops: times.operations.map((o) => o.op),
    bytes: program.arenaBytes,
  };
}

test.each([1, 7, 65, 130, 300, 400])(
  "%d rows give the same bits as a program with f32 intermediates, on any number of threads",
  async (rows) => {
    const x = numbers(rows * width);
    const between = ["norm", "seen", "again", "before", "wide", "gated"];
    const plain = await run(2, between, x);
    expect(plain.ops).not.toContain("linear_activation");
    for (const threads of [1, 2, 3, 6]) {
      const ended = await run(threads, [], x);
      expect(ended.ops).toContain("linear_activation");
      expect(ended.bits).toEqual(plain.bits);
      expect(ended.bytes).toBeLessThan(plain.bytes);
    }
  },
);
