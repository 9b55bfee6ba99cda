// Tensors whose memory is freed for a while.
import { afterEach, expect, test } from "vitest";
import { binding } from "../../lib/binding/index.ts";
import { compile, input, linear, openDevice, Tensor, tensor } from "../../lib/graph/index.ts";

const device = openDevice({ device: process.env.HEDDLE_DEVICE || "cpu", threads: 1 });
const made: Tensor[] = [];
afterEach(() => {
  for (const one of made.splice(0)) one.dispose();
});
async function matrix(...rows: number[][]): Promise<Tensor> {
  const t = await Tensor.from(device, "f32", [rows.length, rows[0]!.length], Float32Array.from(rows.flat()));
  made.push(t);
  return t;
}
const failure = { code: "UNSUPPORTED", message: "model: expected whole weights, got parts" };
const why = failure.message;

test("an unloaded tensor and its views fail with the given message until the tensor is reloaded", async () => {
  const t = await matrix([1, 2, 3, 4]);
  const view = t.part(1, 2);
  made.push(view);
  await t.unload(why);
  for (const one of [t, view]) {
    await expect(one.read()).rejects.toMatchObject(failure);
    await expect(one.write(Float32Array.of(5))).rejects.toMatchObject(failure);
    await expect(one.copyFrom(one)).rejects.toMatchObject(failure);
  }
  await t.reload();
  expect([...(await t.toFloat32())]).toEqual([0, 0, 0, 0]);
  await view.write(Float32Array.of(7, 8));
  expect([...(await t.toFloat32())]).toEqual([0, 7, 8, 0]);
});

test("a program that is bound to an unloaded tensor fails, and then reads the reloaded tensor", async () => {
  const w = await matrix([1, 2], [3, 4]);
  const bound = compile(() => ({ y: linear(input("x", "f32", [1, 2]), tensor("w", "f32", [2, 2])) })).bind(
    device,
    new Map([["w", w]]),
  );
  const run = async () => [...((await bound.run({ x: Float32Array.of(1, 10) })).y as Float32Array)];
  // Several runs, so that a device has recorded the program.
  for (let i = 0; i < 3; i++) expect(await run()).toEqual([21, 43]);
  const elsewhere: Tensor[] = [];
  for (let i = 0; i < 3; i++) {
    await w.unload(why);
    await expect(run()).rejects.toMatchObject(failure);
    // Takes the freed memory, so that the reloaded tensor has another address.
    elsewhere.push(await matrix([9, 9], [9, 9]));
    await w.reload();
    await w.write(Float32Array.of(i, 0, 0, 1));
    for (let again = 0; again < 3; again++) expect(await run()).toEqual([i, 10]);
  }
  for (const one of elsewhere) expect([...(await one.toFloat32())]).toEqual([9, 9, 9, 9]);
  bound.dispose();
});

test("unload waits for the runs that were started before, and its message may be replaced", async () => {
  const w = await matrix([2, 0], [0, 2]);
  const bound = compile(() => ({ y: linear(input("x", "f32", [1, 2]), tensor("w", "f32", [2, 2])) })).bind(
    device,
    new Map([["w", w]]),
  );
  const running = bound.run({ x: Float32Array.of(1, 3) });
  const unloading = w.unload(why);
  expect([...((await running).y as Float32Array)]).toEqual([2, 6]);
  await unloading;
  await w.unload("model: expected whole weights, got none");
  await expect(w.read()).rejects.toMatchObject({ message: "model: expected whole weights, got none" });
  bound.dispose();
});

test.skipIf(device.kind !== "cpu")(
  "an exchange with other ranks rejects an unloaded tensor and its views",
  async () => {
    const t = await matrix([1, 2]);
    const view = t.part(1, 1);
    made.push(view);
    await t.unload(why);
    const ranks = new binding.NativeRanks([], 15, () => {});
    for (const { native } of [t, view])
      await expect((async () => ranks.allReduce([native], 0))()).rejects.toMatchObject({
        code: "UNSUPPORTED",
        message: "allReduce: expected tensors with memory, got an unloaded one",
      });
  },
);

test("a view of another tensor cannot be unloaded, and reloading a loaded tensor keeps its values", async () => {
  const t = await matrix([1, 2]);
  const view = t.part(0, 1);
  made.push(view);
  await expect(view.unload(why)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await t.reload();
  expect([...(await t.toFloat32())]).toEqual([1, 2]);
});
