import { dropout, mul, uniformNoise } from "../../../lib/graph/index.ts";
import { activationTypes, f32, float, given, type OpCase, type OpFile, out } from "../harness.ts";

const noise = given("i32", [3], [-7, 41, 3]);
const shapes = [[1], [3], [129], [5, 33], [40, 130]];

const cases: OpCase[] = activationTypes.flatMap((type) =>
  shapes.flatMap((shape): OpCase[] => {
    const common = {
      inputs: [float(type, shape), noise],
      outputs: [out(type, ...shape)],
      ...(shape[0]! > 3 ? { symbolic: shape[0]! } : {}),
    };
    const label = `${type} (${shape})`;
    return [
      { op: "dropout", label, attributes: { p: 0.3, stream: 5 }, ...common },
      { op: "dropout", label: `${label}, nothing dropped`, attributes: { p: 0, stream: 5 }, ...common },
      { op: "uniform_noise", label, attributes: { scale: 0.7, stream: 0xffffffff }, ...common },
    ];
  }),
);

const bad = { op: "dropout", inputs: [f32([4]), noise], outputs: [out("f32", 4)], attributes: { p: 0.5, stream: 1 } };

export default {
  cases,
  failures: [
    {
      ...bad,
      label: "p of 1",
      attributes: { p: 1, stream: 1 },
      code: "INVALID_ARGUMENT",
      message: /^dropout: p: expected a number in /,
    },
    {
      ...bad,
      label: "a noise key of two numbers instead of three",
      inputs: [f32([4]), given("i32", [2], [1, 2])],
      code: "SHAPE_MISMATCH",
      message: /^dropout: shape of noise: expected \(3\), got \(2\)$/,
    },
    {
      ...bad,
      label: "an output of another shape",
      outputs: [out("f32", 5)],
      code: "SHAPE_MISMATCH",
      message: /^dropout: shape of y: expected \(4\) like x, got \(5\)$/,
    },
  ],
  gradients: [
    {
      label: "dropout",
      operands: { x: [6, 7], w: [6, 7] },
      constants: { noise },
      build: ({ x, w, noise: key }) => mul(dropout(x!, key!, { p: 0.4, stream: 2 }), w!),
    },
    {
      label: "uniform noise",
      operands: { x: [6, 7], w: [6, 7] },
      constants: { noise },
      build: ({ x, w, noise: key }) => mul(uniformNoise(x!, key!, { scale: 0.5, stream: 2 }), w!),
    },
  ],
} satisfies OpFile;
