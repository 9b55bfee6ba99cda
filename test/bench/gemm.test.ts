// The programs of the gemm suite compute the products that they are timed for.
import { expect, test } from "vitest";
import { filled } from "../../lib/bench/ceilings.ts";
import { operands, product } from "../../lib/bench/suites/gemm.ts";
import { openDevice, type Tensor } from "../../lib/graph/index.ts";

test.each(["NT", "NN", "TN"] as const)("adds up the products of several matrices in layout %s", async (layout) => {
  const device = openDevice({ device: "cpu" });
  const rowOf = async (count: number) => {
    const tensors = new Map<string, Tensor>();
    for (const [name, shape] of Object.entries(operands(layout, 3, 5, 4, count)))
      tensors.set(name, await filled(device, "f32", shape));
    const executable = product(layout, "f32", 3, 5, 4, count).bind(device, tensors);
    const { row } = await executable.run({ row: Int32Array.of(1) });
    executable.dispose();
    for (const t of tensors.values()) t.dispose();
    return [...(row as Float32Array)];
  };
  const one = await rowOf(1);
  expect(one.some((value) => value !== 0)).toBe(true);
  const three = await rowOf(3);
  for (const [i, value] of three.entries()) expect(value).toBeCloseTo(3 * one[i]!, 5);
});
