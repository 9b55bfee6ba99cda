// Attention against scripts/golden/attention.py: dense masks in float64 with PyTorch's gradients.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { attention, compile, gradients, input, mul, openDevice, sum } from "../../lib/graph/index.ts";
import { weightByName } from "../golden/by-name.ts";

interface Case {
  name: string;
  causal: boolean;
  window?: number;
  softcap?: number;
  documents?: number[];
  sinks?: boolean;
  values: Record<string, number[]>;
}
const { shape, cases } = JSON.parse(readFileSync(new URL("../golden/attention.json", import.meta.url), "utf8")) as {
  shape: { length: number; rows: number; heads: number; keyHeads: number; width: number };
  cases: Case[];
};
const { length, rows, heads, keyHeads, width } = shape;

test.each(cases)(
  "attention and its gradients equal PyTorch: $name",
  async ({ name, documents, sinks: withSinks, values, ...options }) => {
    const shapes: Record<string, number[]> = {
      q: [rows, heads, width],
      k: [rows, keyHeads, width],
      v: [rows, keyHeads, width],
      ...(withSinks && { sinks: [heads] }),
    };
    const program = compile(() => {
      const at = Object.fromEntries(Object.entries(shapes).map(([n, s]) => [n, input(n, "f32", s)]));
      const { q, k, v, sinks } = at;
      const document = documents && input("documents", "i32", [rows]);
      const o = attention({ q: q!, k: k!, v: v!, documents: document, sinks }, { ...options, sequenceLength: length });
      const loss = sum(mul(o, input("do", "f32", o.shape)));
      const found = gradients(loss, Object.values(at), input("seed", "f32", [1]));
      return { o, ...Object.fromEntries(Object.keys(at).map((n, i) => [n, found[i]!])) };
    }).bind(openDevice(), new Map());
    const inputs = Object.fromEntries(
      Object.entries(shapes).map(([n, s]) => [n, weightByName(`${name}.${n}`, s, 0).map((x) => 6 * x)]),
    );
    const got: Record<string, ArrayLike<number>> = await program.run({
      ...inputs,
      do: weightByName(`${name}.do`, shapes.q!, 0),
      seed: Float32Array.of(1),
      ...(documents && { documents: Int32Array.from(documents) }),
    });
    program.dispose();
    for (const [n, expected] of Object.entries(values)) {
      expect(got[n]).toHaveLength(expected.length);
      expected.forEach((e, i) => {
        expect(Math.abs(got[n]![i]! - e), `${n}[${i}]: ${got[n]![i]}, expected ${e}`).toBeLessThanOrEqual(3e-6);
      });
    }
  },
);
