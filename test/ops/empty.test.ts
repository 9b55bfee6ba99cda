// A symbolic dimension may be zero. Kernels and references then return empty outputs.
import { expect, test } from "vitest";
import * as graph from "../../lib/graph/index.ts";
import { generator, testDevice } from "./harness.ts";

test.each(["kernels", "references"])("ops accept zero rows in %s", async (which) => {
  const before = process.env.HEDDLE_REFERENCE;
  if (which === "references") process.env.HEDDLE_REFERENCE = "1";
  try {
    const device = graph.openDevice({ device: testDevice });
    const rows = new graph.Dimension("rows", 8);
    const random = generator(5);
    const weight = async (...shape: number[]) =>
      graph.Tensor.from(
        device,
        "f32",
        shape,
        Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random() - 0.5),
      );
    const tensors = new Map([
      ["table", await weight(11, 16)],
      ["norm", await weight(16)],
      ["w", await weight(32, 16)],
      ["head", await weight(11, 16)],
      ["frequencies", await weight(4)],
    ]);
    const tensor = (name: string) => graph.tensor(name, "f32", tensors.get(name)!.shape);
    const program = graph.compile(() => {
      const ids = graph.input("ids", "i32", [rows]);
      const x = graph.embedding(tensor("table"), ids);
      const { y, h } = graph.rmsNorm(x, tensor("norm"), { eps: 1e-5, residual: x });
      const [gate, up] = graph.split(graph.linear(y, tensor("w")), [16, 16]);
      const z = graph.add(h, graph.swiglu(gate!, up!));
      const turned = graph.rope(graph.reshape(z, [rows, 2, 8]), ids, tensor("frequencies"));
      const last = graph.reshape(turned, [rows, 16]);
      const { logprob } = graph.tokenLogprob(last, tensor("head"), ids);
      return { last, logprob, total: graph.sum(logprob), normed: graph.softmax(graph.gelu(last)) };
    });
    const executable = program.bind(device, tensors);
    const empty = await executable.run({ ids: new Int32Array(0) });
    expect(empty.last).toHaveLength(0);
    expect(empty.logprob).toHaveLength(0);
    expect([...empty.total]).toEqual([0]);
    const some = await executable.run({ ids: Int32Array.of(3, 0, 10) });
    expect(some.last).toHaveLength(48);
    expect(some.total[0]).toBeLessThan(0);
  } finally {
    if (before === undefined) delete process.env.HEDDLE_REFERENCE;
    else process.env.HEDDLE_REFERENCE = before;
  }
});
