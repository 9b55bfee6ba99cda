import { attention, compile, type Device, gatherRows, input, reshape, type Tensor, tensor } from "../../graph/index.ts";
import { opRow } from "../../graph/op-table.ts";
import { filled, runSeconds } from "../ceilings.ts";
import type { BenchSuite } from "../types.ts";

interface Shape {
  batch: number;
  heads: number;
  kvHeads: number;
  length: number;
  width: number;
}
const SHAPES: Record<Device["kind"], Shape[]> = {
  cpu: [
    { batch: 4, heads: 8, kvHeads: 8, length: 1024, width: 64 },
    { batch: 1, heads: 9, kvHeads: 3, length: 4096, width: 64 },
  ],
  // 16k tokens in sequences of 2k and 16k, as in FlashAttention's published results. The last shape has grouped-query attention.
  cuda: [
    { batch: 8, heads: 16, kvHeads: 16, length: 2048, width: 128 },
    { batch: 1, heads: 16, kvHeads: 16, length: 16384, width: 128 },
    { batch: 8, heads: 12, kvHeads: 4, length: 1024, width: 64 },
  ],
};

/** Causal attention over whole sequences: forward only, and forward with backward. */
export const attentionSuite: BenchSuite = async function* ({ device, quick }) {
  const shapes = quick ? [{ batch: 1, heads: 2, kvHeads: 1, length: 32, width: 16 }] : SHAPES[device.kind];
  for (const shape of shapes)
    for (const dtype of ["f32", "bf16"] as const)
      for (const backward of [false, true]) {
        const { batch, heads, kvHeads, length, width } = shape;
        const rows = batch * length;
        const shapes = {
          q: [rows, heads, width],
          k: [rows, kvHeads, width],
          v: [rows, kvHeads, width],
          g: [rows, heads, width],
        };
        const tensors = new Map<string, Tensor>();
        for (const [name, s] of Object.entries(shapes)) tensors.set(name, await filled(device, dtype, s));
        // Read back only one row of each result, so that copying the results is not timed. They are still computed completely.
        const program = compile(() => {
          const [q, k, v, g] = (["q", "k", "v", "g"] as const).map((name) => tensor(name, dtype, shapes[name]));
          const row = input("row", "i32", [1]);
          const o = attention({ q: q!, k: k!, v: v! }, { sequenceLength: length });
          const { source } = o;
          if (source.kind !== "node") throw new Error("bench: expected a node");
          const gradients = backward ? opRow("attention").vjp!(source.node, [g], [true, true, true]).slice(0, 3) : [];
          const flat = [o, ...gradients].map((value) => reshape(value!, [rows, Number(value!.dim(1)) * width]));
          return Object.fromEntries(flat.map((value, i) => [`row${i}`, gatherRows(value, row)]));
        });
        const executable = program.bind(device, tensors);
        // Causal attention computes half of the scores. The backward pass has 2.5 times the FLOPs of the forward pass.
        const flops = 2 * batch * heads * length * length * width * (backward ? 3.5 : 1);
        yield {
          name: `attention ${backward ? "forward+backward" : "forward"} ${dtype} B${batch} H${heads}/${kvHeads} T${length} D${width}`,
          unit: "GFLOP/s",
          work: flops / 1e9,
          bound: { ceiling: dtype, amount: flops },
          run: () => runSeconds(executable, { row: Int32Array.of(0) }),
        };
        executable.dispose();
        for (const t of tensors.values()) t.dispose();
      }
};
