import { describe, expect, test } from "vitest";
import {
  accumulate,
  add,
  allReduce,
  assign,
  compile,
  Dimension,
  gradients,
  input,
  linear,
  mul,
  openDevice,
  record,
  reshape,
  scale,
  sum,
  Tensor,
  tensor,
  type Value,
} from "../../lib/graph/index.ts";
import { leastOf } from "../helpers/clock.ts";

const device = openDevice();
const ONE = Float32Array.of(1);

async function tensors(entries: Record<string, [number[], number[]]>): Promise<Map<string, Tensor>> {
  const out = new Map<string, Tensor>();
  for (const [name, [shape, values]] of Object.entries(entries))
    out.set(name, await Tensor.from(device, "f32", shape, Float32Array.from(values)));
  return out;
}

describe("tensors", () => {
  // A run is queued before each write, so that the write has not started when its data changes.
  const bytes = 1 << 22;
  const busy = async () => {
    const run = compile(() => ({ y: sum(scale(input("x", "f32", [1 << 20]), 2)) })).bind(device, new Map());
    return Array.from({ length: 4 }, () => run.run({ x: new Float32Array(1 << 20) }));
  };
  test.each([
    ["is overwritten", (data: Float32Array) => void data.fill(-1)],
    ["is transferred", (data: Float32Array) => void structuredClone(data, { transfer: [data.buffer as ArrayBuffer] })],
    ["becomes shorter", (data: Float32Array) => (data.buffer as ArrayBuffer & { resize(n: number): void }).resize(0)],
  ])("keep the data of a write if the caller's array %s before the write starts", async (_, lose) => {
    const resizable = new (ArrayBuffer as new (n: number, options: { maxByteLength: number }) => ArrayBuffer)(bytes, {
      maxByteLength: bytes,
    });
    const data = new Float32Array(resizable).map((_, i) => i);
    const given = new Float32Array(resizable);
    given.set(data);
    const runs = await busy();
    const t = Tensor.from(device, "f32", [bytes / 4], given);
    lose(given);
    await Promise.all(runs);
    expect(Buffer.compare(Buffer.from((await (await t).read()).buffer), Buffer.from(data.buffer))).toBe(0);
  });
});

describe("programs", () => {
  test("support every size of a symbolic dimension up to its bound", async () => {
    const rows = new Dimension("rows", 8);
    const program = compile(() => ({ y: scale(input("x", "f32", [rows, 2]), 3) }));
    const run = program.bind(device, new Map());
    for (const n of [1, 8, 3]) {
      const x = Float32Array.from({ length: 2 * n }, (_, i) => i);
      expect([...(await run.run({ x })).y]).toEqual([...x].map((v) => 3 * v));
    }
    await expect(run.run({ x: new Float32Array(18) })).rejects.toMatchObject({
      code: "SHAPE_MISMATCH",
      message: "run: input x: expected at most 8 for the dimension rows, got 9",
    });
    await expect(run.run({ x: new Float32Array(3) })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    await expect(run.run({})).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  test("reject unknown inputs with the names of the known ones", async () => {
    const program = compile(() => {
      input("unread", "f32", [1]);
      return { y: add(input("x", "f32", [2]), input("bias", "f32", [2])) };
    });
    expect([...program.inputNames]).toEqual(["unread", "x", "bias"]);
    const run = program.bind(device, new Map());
    const given = { x: Float32Array.of(1, 2), bias: Float32Array.of(3, 4) };
    const refused = (message: string) => ({ name: "HeddleError", code: "INVALID_ARGUMENT", message });
    await expect(run.run({ ...given, mask: ONE })).rejects.toMatchObject(
      refused("run: inputs: expected names among unread, x, bias, got mask"),
    );
    // A misspelt input is reported before the missing `bias`.
    await expect(run.run({ x: given.x, Bias: given.bias })).rejects.toMatchObject(
      refused("run: inputs: expected names among unread, x, bias, got Bias"),
    );
    // Unused inputs and undefined values are allowed.
    const { y } = await run.run({ ...given, unread: ONE, mask: undefined as never });
    expect([...y]).toEqual([4, 6]);
    const none = compile(() => ({ y: scale(tensor("w", "f32", [1]), 2) }));
    const bound = none.bind(device, await tensors({ w: [[1], [2]] }));
    await expect(bound.run({ w: ONE })).rejects.toMatchObject(refused("run: inputs: expected no inputs, got w"));
    await expect(bound.run(undefined as never)).rejects.toMatchObject(
      refused("run: inputs: expected an object of arrays by name, got undefined"),
    );
  });

  test("reuse memory of dead values, so that a chain needs only two buffers", () => {
    const bytes = 1024 * 4;
    const chain = (links: number) =>
      compile(() => {
        let y = input("x", "f32", [1024]);
        for (let i = 0; i < links; i++) y = scale(add(y, scale(y, 2)), 0.5);
        return { y };
      }).arenaBytes;
    expect(chain(50)).toBeLessThanOrEqual(2 * bytes + 128);
    expect(chain(50)).toBe(chain(5));
  });

  test("do not overwrite a value in place that is read later", async () => {
    const program = compile(() => {
      const x = input("x", "f32", [4]);
      const a = scale(x, 2);
      const b = scale(a, 10); // must not reuse a's memory, since a is read below
      return { y: add(a, b), z: reshape(a, [2, 2]) };
    });
    const { y, z } = await program.bind(device, new Map()).run({ x: Float32Array.of(1, 2, 3, 4) });
    expect([...y]).toEqual([22, 44, 66, 88]);
    expect([...z]).toEqual([2, 4, 6, 8]);
  });

  test("support an elementwise product of a value with itself", async () => {
    const program = compile(() => {
      const a = scale(input("x", "f32", [3]), 1);
      return { y: mul(a, a) };
    });
    expect([...(await program.bind(device, new Map()).run({ x: Float32Array.of(2, 3, 4) })).y]).toEqual([4, 9, 16]);
  });

  test("run effects in order even if nothing reads them", async () => {
    const state = await tensors({ s: [[2], [1, 1]] });
    const program = compile((): Record<string, Value> => {
      const s = tensor("s", "f32", [2]);
      const keep = input("keep", "f32", [1]);
      accumulate(s, input("a", "f32", [2]), keep);
      accumulate(s, input("b", "f32", [2]), keep);
      return {};
    });
    const run = program.bind(device, state);
    await run.run({ a: Float32Array.of(1, 2), b: Float32Array.of(10, 20), keep: ONE });
    expect([...(await state.get("s")!.read())]).toEqual([12, 23]);
    await run.run({ a: Float32Array.of(1, 2), b: Float32Array.of(10, 20), keep: Float32Array.of(0) });
    expect([...(await state.get("s")!.read())]).toEqual([10, 20]);
  });

  describe("a value assigned to a tensor", () => {
    const x = Float32Array.from({ length: 64 }, (_, i) => i);
    const doubled = [...x].map((v) => 2 * v);
    /** Runs a program once. Returns the final content of the tensor `s`, which starts as sevens, the outputs and the arena size. */
    async function stateAfter(build: (s: Value, x: Value) => Record<string, Value>) {
      const state = await tensors({ s: [[64], Array(64).fill(7)] });
      const program = compile(() => build(tensor("s", "f32", [64]), input("x", "f32", [64])));
      const outputs = await program.bind(device, state).run({ x });
      return { s: [...(await state.get("s")!.read())], outputs, arenaBytes: program.arenaBytes };
    }

    test("is computed in the tensor if nothing else uses either", async () => {
      const moved = await stateAfter((s, x) => {
        assign(s, scale(x, 2));
        return {};
      });
      expect(moved.s).toEqual(doubled);
      expect(moved.arenaBytes).toBe(0);
    });

    test("is computed in the tensor if only later nodes use it", async () => {
      const summed = await stateAfter((s, x) => {
        assign(s, scale(x, 2));
        allReduce(s);
        return {};
      });
      expect(summed.s).toEqual(doubled);
      expect(summed.arenaBytes).toBe(0);
    });

    test("has the right contents if views and in-place ops compute it", async () => {
      const { s, arenaBytes } = await stateAfter((s, x) => {
        const y = reshape(scale(reshape(x, [8, 8]), 3), [64]);
        assign(s, add(y, scale(x, -1)));
        return {};
      });
      expect(s).toEqual(doubled);
      // Only -x takes additional memory.
      expect(arenaBytes).toBe(64 * 4);
    });

    test("is copied if the tensor or the value is read elsewhere", async () => {
      const before = await stateAfter((s, x) => {
        const y = scale(x, 2);
        const old = scale(s, 1);
        assign(s, y);
        return { old };
      });
      expect([before.s, [...before.outputs.old!]]).toEqual([doubled, Array(64).fill(7)]);
      const later = await stateAfter((s, x) => {
        assign(s, scale(x, 2));
        return { now: scale(s, 1) };
      });
      expect([later.s, [...later.outputs.now!]]).toEqual([doubled, doubled]);
      const read = await stateAfter((s, x) => {
        const y = scale(x, 2);
        assign(s, y);
        return { y, twice: scale(y, 2) };
      });
      expect([read.s, [...read.outputs.y!]]).toEqual([doubled, doubled]);
      const replaced = await stateAfter((s, x) => {
        assign(s, scale(x, 5));
        assign(s, scale(x, 2));
        return {};
      });
      expect(replaced.s).toEqual(doubled);
    });

    test("is rejected if the tensor is bound under another name that is read or written", async () => {
      const state = await tensors({ s: [[64], Array(64).fill(7)] });
      const program = compile((): Record<string, Value> => {
        assign(tensor("s", "f32", [64]), scale(input("x", "f32", [64]), 2));
        return { y: scale(tensor("t", "f32", [64]), 1) };
      });
      const both = new Map([...state, ["t", state.get("s")!]]);
      const expected = /bind: expected one name for a tensor that the program writes, got two/;
      expect(() => program.bind(device, both)).toThrow(expected);
      // The same holds for in-place writes, also with another shape.
      const inPlace = compile((): Record<string, Value> => {
        accumulate(reshape(tensor("s", "f32", [64]), [8, 8]), input("x", "f32", [8, 8]), input("keep", "f32", [1]));
        return { y: scale(tensor("t", "f32", [64]), 1) };
      });
      expect(() => inPlace.bind(device, both)).toThrow(expected);
    });
  });

  test("keep inputs and results of queued runs separate", async () => {
    const program = compile(() => ({ y: scale(input("x", "f32", [1]), 2) }));
    const run = program.bind(device, new Map());
    const x = new Float32Array(1);
    const results = Array.from({ length: 50 }, (_, i) => {
      x[0] = i; // copied by the call of run
      return run.run({ x });
    });
    expect((await Promise.all(results)).map(({ y }) => y[0])).toEqual(Array.from({ length: 50 }, (_, i) => 2 * i));
  });
});

describe("gradients", () => {
  test("gradients of a value used twice are summed", async () => {
    const program = compile(() => {
      const x = tensor("x", "f32", [3]);
      const loss = sum(mul(add(x, x), x)); // 2x²
      const [dx] = gradients(loss, [x], input("one", "f32", [1]));
      return { loss, dx: dx! };
    });
    const { loss, dx } = await program.bind(device, await tensors({ x: [[3], [1, 2, 3]] })).run({ one: ONE });
    expect(loss[0]).toBe(28);
    expect([...dx]).toEqual([4, 8, 12]);
  });

  test("gradients of a value that the loss does not depend on are an error that names the value", () => {
    const attempt = () =>
      compile(() => ({
        g: gradients(sum(tensor("a", "f32", [2])), [tensor("b", "f32", [2])], input("one", "f32", [1]))[0]!,
      }));
    expect(attempt).toThrowError(/gradients: expected a value that the loss depends on, got tensor b/);
  });
});

describe("runtime errors", () => {
  test("state the op, the expected shape and the actual shape", () => {
    const attempt = () => compile(() => ({ y: linear(input("x", "f32", [2, 512]), tensor("w", "f32", [8, 576])) }));
    expect(attempt).toThrowError("linear: last dimension of x: expected 576, got 512");
  });

  test("report an op outside compile", () => {
    const { x } = record(() => ({ x: input("x", "f32", [1]) })).result;
    for (const call of [() => scale(x, 1), () => input("x", "f32", [1])])
      expect(call).toThrowError("op: expected to be called inside compile(), got a call outside");
  });

  test("runtime errors of one trace do not affect the next", () => {
    expect(() =>
      compile(() => {
        throw new Error("the author's own");
      }),
    ).toThrowError("the author's own");
    expect(compile(() => ({ y: scale(input("x", "f32", [1]), 1) })).arenaBytes).toBeGreaterThan(0);
  });

  test("report tensors that are missing, disposed or have another shape", async () => {
    const program = compile(() => ({ y: scale(tensor("w", "f32", [2]), 1) }));
    expect(() => program.bind(device, new Map())).toThrowError("bind: expected a tensor w, got none");
    const wrong = await tensors({ w: [[3], [1, 2, 3]] });
    expect(() => program.bind(device, wrong)).toThrowError("bind: tensor w: expected f32(2), got f32(3)");
    const gone = await tensors({ w: [[2], [1, 2]] });
    gone.get("w")!.dispose();
    gone.get("w")!.dispose(); // disposing twice is allowed
    expect(() => program.bind(device, gone)).toThrowError(expect.objectContaining({ code: "DISPOSED" }));
    await expect(gone.get("w")!.read()).rejects.toMatchObject({ code: "DISPOSED" });
  });

  test("report a disposed executable, but not the disposal of a tensor that a program still holds", async () => {
    const program = compile(() => ({ y: scale(tensor("w", "f32", [2]), 2) }));
    const bound = await tensors({ w: [[2], [1, 2]] });
    const run = program.bind(device, bound);
    bound.get("w")!.dispose();
    expect([...(await run.run({})).y]).toEqual([2, 4]);
    const last = run.run({});
    run.dispose();
    expect([...(await last).y]).toEqual([2, 4]);
    await expect(run.run({})).rejects.toMatchObject({ code: "DISPOSED" });
  });

  test.each([
    ["device", { device: "gpu" }],
    ["threads", { threads: 0 }],
    ["threads", { threads: 1.5 }],
  ])("report an invalid %s of openDevice", (name, options) => {
    expect(() => openDevice(options)).toThrowError(new RegExp(`^${name}: expected .*, got `));
  });

  test("report a missing CUDA device", () => {
    expect(() => openDevice({ device: "cuda:99" })).toThrowError(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});

test("an abort takes effect within 50 ms, and later runs on the device work", async () => {
  const width = 256;
  const program = compile(() => {
    let y = input("x", "f32", [width, width]);
    for (let i = 0; i < 4000; i++) y = linear(y, tensor("w", "f32", [width, width]));
    return { y };
  });
  const w = Tensor.zeros(device, "f32", [width, width]);
  const run = program.bind(device, new Map([["w", w]]));
  const attempt = async () => {
    const controller = new AbortController();
    const running = run.run({ x: new Float32Array(width * width) }, { signal: controller.signal });
    await new Promise((resolve) => setTimeout(resolve, 30));
    const fired = performance.now();
    controller.abort();
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
    return performance.now() - fired;
  };
  expect(await leastOf(50, attempt)).toBeLessThan(50);
  const controller = new AbortController();
  controller.abort();
  const after = compile(() => ({ y: scale(input("x", "f32", [1]), 2) })).bind(device, new Map());
  expect((await after.run({ x: ONE })).y[0]).toBe(2);
  await expect(after.run({ x: ONE }, { signal: controller.signal })).rejects.toMatchObject({ code: "ABORTED" });
});
