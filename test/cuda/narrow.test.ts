// Programs store values in bf16 if only products that round them to bf16 read them (lib/graph/passes/keep-bf16.ts). This does not change a bit
// of the results: a program that also returns these values keeps them in f32, and its products round them.
import { describe, expect, test } from "vitest";
import {
  add,
  combineExperts,
  compile,
  Dimension,
  expertLinear,
  input,
  linear,
  openDevice,
  rmsNorm,
  routeExperts,
  swiglu,
  Tensor,
  tensor,
  type Value,
} from "../../lib/graph/index.ts";
import { generator } from "../ops/harness.ts";

const [width, inner, experts] = [96, 160, 4];
const shapes: Record<string, readonly number[]> = {
  gate: [inner, width],
  up: [inner, width],
  down: [width, inner],
  router: [experts, width],
  gates: [experts, inner, width],
  ups: [experts, inner, width],
  downs: [experts, width, inner],
};
const random = generator(1);
const numbers = (count: number) => Float32Array.from({ length: count }, () => random() - 0.5);
const weight = (name: string) => tensor(name, "bf16", shapes[name]!);
const normed = (x: Value) => rmsNorm(x, tensor("norm", "f32", [width]), { eps: 1e-5 }).y;

/** A gated layer and a mixture of experts, each with a residual. */
function decoder() {
  const x = input("x", "f32", [new Dimension("rows", 200), width]);
  const product = (v: Value, name: string) => linear(v, weight(name), undefined, { activations: "int8" });
  const norm = normed(x);
  const gated = swiglu(product(norm, "gate"), product(norm, "up"));
  const onto = add(x, product(gated, "down"));
  const again = normed(onto);
  const routed = routeExperts(product(again, "router"), { k: 2, normalize: true });
  const project = (v: Value, name: string) => expertLinear(v, weight(name), routed.experts, { activations: "int8" });
  const ofExperts = swiglu(project(again, "gates"), project(again, "ups"));
  const y = add(onto, combineExperts(project(ofExperts, "downs"), routed.weights));
  return { y, norm, gated, again, ofExperts };
}

describe("a program whose products round their inputs to bf16", () => {
  test.each([1, 3, 40, 130])("has the same results for %d rows if these inputs are f32", async (rows) => {
    const device = openDevice({ device: "cuda" });
    const tensors = new Map([["norm", await Tensor.from(device, "f32", [width], numbers(width))]]);
    for (const [name, shape] of Object.entries(shapes)) {
      const bits = new Uint32Array(numbers(shape.reduce((a, b) => a * b)).buffer);
      tensors.set(
        name,
        await Tensor.from(
          device,
          "bf16",
          shape,
          Uint16Array.from(bits, (word) => word >>> 16),
        ),
      );
    }
    const x = numbers(rows * width);
    const narrow = compile(() => ({ y: decoder().y }));
    const wide = compile(decoder);
    const { y } = await narrow.bind(device, tensors).run({ x });
    expect((await wide.bind(device, tensors).run({ x })).y).toEqual(y);
    expect(new Set(y as Float32Array).size).toBeGreaterThan(rows * 10);
  });
});
