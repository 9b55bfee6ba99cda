// The order in which rows with the same id are added.
import { expect, test } from "vitest";
import { f32, given, materialize, out, runOp } from "./harness.ts";

const WIDTH = 16;

test("segment_sum adds the rows of a segment one after another in f32", async () => {
  const segments = Array.from({ length: 400 }, (_, i) => (i * i) % 5);
  const inputs = [f32([400, WIDTH]), given("i32", [400], segments)];
  const data = materialize(inputs, 3);
  const { outputs } = await runOp({ op: "segment_sum", label: "", inputs, outputs: [out("f32", 5, WIDTH)] }, data);
  const expected = new Float32Array(5 * WIDTH);
  const x = data[0] as Float32Array;
  for (const [row, segment] of segments.entries())
    for (let j = 0; j < WIDTH; j++) expected[segment * WIDTH + j]! += x[row * WIDTH + j]!;
  expect(outputs[0]).toEqual(expected);
});

test("the gradient of an embedding's row does not depend on the rows of other ids", async () => {
  const [row] = materialize([f32([300, WIDTH])], 4) as Float32Array[];
  // The id 3 has 200 rows. Between them are `others` rows with smaller and larger ids.
  const gradient = async (others: number) => {
    const ids: number[] = [];
    const dy: number[] = [];
    for (let i = 0; i < 200; i++) {
      for (let k = 0; k < others; k++) {
        ids.push(k % 2 ? 1 : 5);
        for (let j = 0; j < WIDTH; j++) dy.push(1);
      }
      ids.push(3);
      dy.push(...row!.subarray(i * WIDTH, (i + 1) * WIDTH));
    }
    const inputs = [given("f32", [ids.length, WIDTH], dy), given("i32", [ids.length], ids)];
    const outputs = [out("f32", 7, WIDTH)];
    const run = await runOp(
      { op: "embedding_backward", label: "", inputs, attributes: { scale: 1 }, outputs },
      materialize(inputs, 1),
    );
    return (run.outputs[0] as Float32Array).slice(3 * WIDTH, 4 * WIDTH);
  };
  const alone = await gradient(0);
  expect(alone.some((v) => v !== 0)).toBe(true);
  expect(await gradient(1)).toEqual(alone);
  expect(await gradient(3)).toEqual(alone);
});
