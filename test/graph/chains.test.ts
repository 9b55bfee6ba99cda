// Chains of row-wise nodes run one block of rows at a time (native/runtime/run/run_chain.cc). The bits equal those of running node by node.
// A device runs node by node if it has too many threads for the rows.
import { describe, expect, test } from "vitest";
import {
  add,
  assign,
  cast,
  compile,
  type Device,
  Dimension,
  gelu,
  type Inputs,
  input,
  linear,
  openDevice,
  reshape,
  rmsNorm,
  rope,
  scale,
  softmax,
  swiglu,
  Tensor,
  tensor,
  type Value,
} from "../../lib/graph/index.ts";
import { mapFile } from "../../lib/io/mapped-file.ts";
import { temporaryFile } from "../formats/helpers.ts";
import { generator } from "../ops/harness.ts";

const [width, wide, heads] = [192, 448, 3];
const shapes = {
  up: [wide, width],
  gate: [wide, width],
  down: [width, wide],
  q: [width, width],
  k: [width, width],
  out: [width, width],
} as const;
type Name = keyof typeof shapes;

/** Blocks of random integers with a scale of 2⁻⁹, or small bf16 values. */
function bytesOf(type: "q8_0" | "bf16", [n, k]: readonly [number, number], random: () => number): Uint8Array {
  if (type === "bf16") {
    const numbers = Float32Array.from({ length: n * k }, () => (random() - 0.5) / 4);
    return new Uint8Array(Uint16Array.from(new Uint32Array(numbers.buffer), (bits) => bits >>> 16).buffer);
  }
  const bytes = Uint8Array.from({ length: (n * k * 34) / 32 }, () => random() * 256);
  for (let b = 0; b < bytes.length; b += 34) [bytes[b], bytes[b + 1]] = [0x00, 0x18];
  return bytes;
}

/**
 * Two layers of row-wise nodes: norms with a residual, grouped products, RoPE, views, in-place sums. They are one
 * chain between two softmax nodes, which are not part of it.
 */
const program = (type: "q8_0" | "bf16") =>
  compile(() => {
    const rows = new Dimension("rows", 400);
    const product = (x: Parameters<typeof linear>[0], name: Name) =>
      linear(x, tensor(name, type, shapes[name]), undefined, { activations: "int8" });
    const norm = tensor("norm", "f32", [width]);
    const frequencies = tensor("frequencies", "f32", [width / heads / 2]);
    const start = softmax(input("x", "f32", [rows, width])); // not part of a chain
    const { y, h } = rmsNorm(start, norm, { eps: 1e-6 });
    const middle = product(swiglu(product(y, "gate"), product(y, "up")), "down");
    const next = rmsNorm(middle, norm, { eps: 1e-6, residual: h });
    const turned = (name: Name) =>
      rope(
        reshape(product(next.y, name), [rows, heads, width / heads]),
        input("positions", "i32", [rows]),
        frequencies,
      );
    const q = reshape(turned("q"), [rows, width]);
    const sum = add(add(q, next.h), product(q, "out"));
    return { q, k: turned("k"), h: next.h, after: softmax(add(sum, start)) };
  });

/** A program whose wide output must not reuse its operand's memory, since another thread may still read the operand. */
const overtaking = (type: "q8_0" | "bf16") =>
  compile(() => {
    const x = softmax(input("x", "f32", [new Dimension("rows", 400), width]));
    const product = (of: Parameters<typeof linear>[0], name: Name) =>
      linear(of, tensor(name, type, shapes[name]), undefined, { activations: "int8" });
    return { after: softmax(product(product(product(x, "q"), "k"), "up")) };
  });

/** A program whose chain reads a sum that is fused into a product before the chain. */
const added = (type: "q8_0" | "bf16") =>
  compile(() => {
    const values = input("x", "f32", [new Dimension("rows", 400), width]);
    const [a, b] = [softmax(values), softmax(scale(values, 2))];
    const product = linear(a, tensor("matrix", "f32", [width, width]));
    const normed = rmsNorm(a, tensor("norm", "f32", [width]), { eps: 1e-6 }).y;
    const q = linear(normed, tensor("q", type, shapes.q), undefined, { activations: "int8" });
    const k = linear(add(b, product), tensor("k", type, shapes.k), undefined, { activations: "int8" });
    return { after: softmax(add(q, k)) };
  });

async function tensorsOf(device: Device, type: "q8_0" | "bf16") {
  const random = generator(11);
  const floats = (n: number) => Float32Array.from({ length: n }, () => random() + 0.5);
  const norm = floats(width);
  const tensors = new Map<string, Tensor>([
    ["norm", await Tensor.from(device, "f32", [width], norm)],
    ["matrix", await Tensor.from(device, "f32", [width, width], floats(width * width))],
    ["frequencies", await Tensor.from(device, "f32", [width / heads / 2], floats(width / heads / 2))],
  ]);
  for (const [name, shape] of Object.entries(shapes)) {
    const bytes = bytesOf(type, shape, random);
    // Kernels pack weights in bf16 only if they are mapped from files.
    const file = mapFile(temporaryFile(bytes));
    tensors.set(name, Tensor.mapped(device, type, shape, file, 0));
  }
  return tensors;
}

const bitsOf = (values: ArrayBufferView) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

describe.each(["q8_0", "bf16"] as const)("chains with weights in %s", (type) => {
  // 149 rows on three threads would give a block of 47 rows. Products of quantized weights need 48 to use AMX tiles.
  test.each([96, 97, 149, 255, 256, 400])(
    "give the same bits for %d rows computed in blocks as computed at once",
    async (count) => {
      const random = generator(count);
      const data = {
        x: Float32Array.from({ length: count * width }, () => 8 * random()),
        positions: Int32Array.from({ length: count }, (_, i) => i),
      };
      const results: Record<string, ArrayBufferView>[] = [];
      for (const threads of [2, 1, 3, 16]) {
        const device = openDevice({ threads });
        const tensors = await tensorsOf(device, type);
        for (const { bound, inputs } of [
          { bound: program(type).bind(device, tensors), inputs: data },
          { bound: overtaking(type).bind(device, tensors), inputs: { x: data.x } },
          { bound: added(type).bind(device, tensors), inputs: { x: data.x } },
        ]) {
          await bound.run(inputs); // no packed weights yet, so no blocks
          results.push({ ...(await bound.run(inputs)) } as Record<string, ArrayBufferView>);
          bound.dispose();
        }
        for (const t of tensors.values()) t.dispose();
      }
      for (const [k, result] of results.entries()) {
        expect((result.after as Float32Array).every((v) => Number.isFinite(v))).toBe(true);
        const other = results[9 + (k % 3)]!; // the same program on 16 threads, which run node by node
        for (const [name, values] of Object.entries(result))
          expect(Buffer.compare(bitsOf(values), bitsOf(other[name]!)), name).toBe(0);
      }
    },
  );
});

/** The bits of every run. The first has no packed weights and thus no blocks. */
async function runsOf(threads: number, type: "q8_0" | "bf16", build: () => { y: Value }, data: Inputs[]) {
  const device = openDevice({ threads });
  const tensors = await tensorsOf(device, type);
  tensors.set("state", await Tensor.from(device, "f32", [width], new Float32Array(width)));
  const bound = compile(build).bind(device, tensors);
  const results: Buffer[] = [];
  for (const inputs of data) results.push(bitsOf((await bound.run(inputs)).y));
  bound.dispose();
  for (const t of tensors.values()) t.dispose();
  return results;
}

test("a fused addition to a product gives the same bits on any number of threads and in every run", async () => {
  const build = () => {
    const x = softmax(cast(input("x", "f32", [400, width]), "bf16"));
    return { y: softmax(add(gelu(x), linear(x, tensor("q", "bf16", shapes.q)))) };
  };
  const x = Float32Array.from({ length: 400 * width }, generator(3));
  const runs = (await Promise.all([1, 2, 16].map((n) => runsOf(n, "bf16", build, [{ x }, { x }, { x }])))).flat();
  for (const run of runs) expect(Buffer.compare(run, runs[0]!)).toBe(0);
});

test("a value that all rows need is computed before the chain that uses it", async () => {
  const build = () => {
    const x = softmax(input("x", "f32", [width, width]));
    const bias = scale(input("bias", "f32", [width]), 3); // assigned to `state`, so computed in its memory
    const y = linear(x, tensor("q", "q8_0", shapes.q), bias, { activations: "int8" });
    assign(tensor("state", "f32", [width]), bias);
    return { y };
  };
  const x = Float32Array.from({ length: width * width }, generator(3));
  const data = [1, 2, 3].map((n) => ({ x, bias: Float32Array.from({ length: width }, (_, i) => i * n) }));
  const [one, many] = [await runsOf(1, "q8_0", build, data), await runsOf(16, "q8_0", build, data)];
  for (const [i, run] of one.entries()) expect(Buffer.compare(run, many[i]!)).toBe(0);
});
