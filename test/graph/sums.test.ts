// A product is accumulated into the other operand of a sum if that operand is not used afterwards.
import { describe, expect, test } from "vitest";
import { add, cast, compile, type FloatDType, input, linear, openDevice, scale } from "../../lib/graph/index.ts";
import { generator } from "../ops/harness.ts";

/** Each of two threads packs the whole shorter operand for itself. Six threads pack both operands together. */
const devices = [2, 6].map((threads) => openDevice({ threads }));
const random = generator(5);
const floats = (n: number) => Float32Array.from({ length: n }, () => random() - 0.5);

/**
 * (rows, inputs, outputs). The cases have a short k, as in LoRA's second product (which is transposed in the backward pass), partial tiles, an
 * odd k and a long k.
 */
const shapes = [
  [33, 8, 76],
  [130, 8, 96],
  [41, 2, 33],
  [37, 7, 64],
  [70, 31, 101],
  [39, 32, 32],
  [64, 100, 48],
  [70, 16, 2100],
] as const;

describe.each<FloatDType>(["f32", "bf16"])("%s", (type) => {
  test.each(shapes.flatMap((s) => [0, 1].map((turned) => [...s, turned === 1] as const)))(
    "a fused sum equals a separate one, in bf16 up to rounding: (%d, %d) to %d, transposed %s",
    async (n, k, m, transposed) => {
      const data = { x: floats(n * k), w: floats(k * m), base: floats(n * m) };
      const product = () => {
        const [x, w] = [input("x", "f32", [n, k]), input("w", "f32", transposed ? [k, m] : [m, k])];
        return linear(cast(x, type), cast(w, type), undefined, { transposed });
      };
      // Scale the base, so that it is in the program's memory and only the sum reads it.
      const base = () => scale(cast(input("base", "f32", [n, m]), type), 2);
      const run = async (build: () => Record<string, ReturnType<typeof product>>) => {
        const all = [];
        for (const device of devices) {
          const bound = compile(build).bind(device, new Map());
          all.push((await bound.run(data)) as Record<string, Float32Array>);
          bound.dispose();
        }
        expect(all[1]).toEqual(all[0]);
        return all[0]!;
      };
      const { joined } = await run(() => ({ joined: cast(add(base(), product()), "f32") }));
      // The product is also an output here, so nothing is fused.
      const apart = await run(() => {
        const y = product();
        return { y: cast(y, "f32"), sum: cast(add(base(), y), "f32") };
      });
      if (type === "f32") expect(joined).toEqual(apart.sum);
      // A fused sum does not round its product to bf16. The results differ by at most half a bf16 ulp for each omitted or moved rounding.
      const beyond = joined!.filter((v, i) => {
        const size = Math.max(Math.abs(v), Math.abs(apart.y![i]!), 2 * Math.abs(data.base[i]!));
        return !(Math.abs(v - apart.sum![i]!) <= (type === "f32" ? 0 : size * 2 ** -7));
      });
      expect(beyond).toHaveLength(0);
    },
  );
});
