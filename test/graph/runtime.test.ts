import { describe, expect, test } from "vitest";
import {
  accumulate,
  add,
  assign,
  compile,
  Dimension,
  gradients,
  input,
  linear,
  mul,
  openDevice,
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
  // Each write lies behind a run on the lane, so that it has not begun when its data is gone.
  const bytes = 1 << 22;
  const busy = async () => {
    const run = compile(() => ({ y: sum(scale(input("x", "f32", [1 << 20]), 2)) })).bind(device, new Map());
    return Array.from({ length: 4 }, () => run.run({ x: new Float32Array(1 << 20) }));
  };
  test.each([
    ["is overwritten", (data: Float32Array) => void data.fill(-1)],
    ["is transferred", (data: Float32Array) => void structuredClone(data, { transfer: [data.buffer as ArrayBuffer] })],
    ["becomes shorter", (data: Float32Array) => (data.buffer as ArrayBuffer & { resize(n: number): void }).resize(0)],
  ])("a write has its own copy: the caller's array %s right away", async (_, lose) => {
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
  test("one program serves every size of a symbolic dimension up to its bound", async () => {
    const rows = new Dimension("rows", 8);
    const program = compile(() => ({ y: scale(input("x", "f32", [rows, 2]), 3) }));
    const run = program.bind(device, new Map());
    for (const n of [1, 8, 3]) {
      const x = Float32Array.from({ length: 2 * n }, (_, i) => i);
      expect([...(await run.run({ x })).y]).toEqual([...x].map((v) => 3 * v));
    }
    await expect(run.run({ x: new Float32Array(18) })).rejects.toMatchObject({
      code: "SHAPE_MISMATCH",
      message: "run: input x, expected a rows of at most 8, got 9",
    });
    await expect(run.run({ x: new Float32Array(3) })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    await expect(run.run({})).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  test("an input that the program does not have is refused by its name, beside those that it has", async () => {
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
    // In the place of one that is there: what is said is not that `bias` is missing.
    await expect(run.run({ x: given.x, Bias: given.bias })).rejects.toMatchObject(
      refused("run: inputs: expected names among unread, x, bias, got Bias"),
    );
    // What nothing reads, and what is not given, is no mistake.
    const { y } = await run.run({ ...given, unread: ONE, mask: undefined as never });
    expect([...y]).toEqual([4, 6]);
    const none = compile(() => ({ y: scale(tensor("w", "f32", [1]), 2) }));
    const bound = none.bind(device, await tensors({ w: [[1], [2]] }));
    await expect(bound.run({ w: ONE })).rejects.toMatchObject(refused("run: inputs: expected none, got w"));
    await expect(bound.run(undefined as never)).rejects.toMatchObject(
      refused("run: inputs: expected an object of arrays by name, got undefined"),
    );
  });

  test("memory of dead values is used again: a chain needs no more than two buffers", () => {
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

  test("a value that is read later is not overwritten in place", async () => {
    const program = compile(() => {
      const x = input("x", "f32", [4]);
      const a = scale(x, 2);
      const b = scale(a, 10); // may not take a's memory: a is read below
      return { y: add(a, b), z: reshape(a, [2, 2]) };
    });
    const { y, z } = await program.bind(device, new Map()).run({ x: Float32Array.of(1, 2, 3, 4) });
    expect([...y]).toEqual([22, 44, 66, 88]);
    expect([...z]).toEqual([2, 4, 6, 8]);
  });

  test("a value squared by itself", async () => {
    const program = compile(() => {
      const a = scale(input("x", "f32", [3]), 1);
      return { y: mul(a, a) };
    });
    expect([...(await program.bind(device, new Map()).run({ x: Float32Array.of(2, 3, 4) })).y]).toEqual([4, 9, 16]);
  });

  test("effects run though nobody reads them, in the order they were made", async () => {
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

  describe("a value that a tensor takes over", () => {
    const x = Float32Array.from({ length: 64 }, (_, i) => i);
    const doubled = [...x].map((v) => 2 * v);
    /** What the tensor `s`, of sevens, holds after a run, and the program's arena. */
    async function stateAfter(build: (s: Value, x: Value) => Record<string, Value>) {
      const state = await tensors({ s: [[64], Array(64).fill(7)] });
      const program = compile(() => build(tensor("s", "f32", [64]), input("x", "f32", [64])));
      const outputs = await program.bind(device, state).run({ x });
      return { s: [...(await state.get("s")!.read())], outputs, arenaBytes: program.arenaBytes };
    }

    test("is made in the tensor where nothing else needs either", async () => {
      const moved = await stateAfter((s, x) => {
        assign(s, scale(x, 2));
        return {};
      });
      expect(moved.s).toEqual(doubled);
      expect(moved.arenaBytes).toBe(0);
    });

    test("through views and values made in place", async () => {
      const { s } = await stateAfter((s, x) => {
        const y = reshape(scale(reshape(x, [8, 8]), 3), [64]);
        assign(s, add(y, scale(x, -1)));
        return {};
      });
      expect(s).toEqual(doubled);
    });

    test("is copied where the tensor is read before or after, or the value is", async () => {
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

    test("refuses a tensor that another name writes or reads", async () => {
      const state = await tensors({ s: [[64], Array(64).fill(7)] });
      const program = compile((): Record<string, Value> => {
        assign(tensor("s", "f32", [64]), scale(input("x", "f32", [64]), 2));
        return { y: scale(tensor("t", "f32", [64]), 1) };
      });
      const both = new Map([...state, ["t", state.get("s")!]]);
      const expected = /bind: expected a tensor that the program writes under one name, got one under two/;
      expect(() => program.bind(device, both)).toThrow(expected);
      // What nodes write in place as well, also by another shape.
      const inPlace = compile((): Record<string, Value> => {
        accumulate(reshape(tensor("s", "f32", [64]), [8, 8]), input("x", "f32", [8, 8]), input("keep", "f32", [1]));
        return { y: scale(tensor("t", "f32", [64]), 1) };
      });
      expect(() => inPlace.bind(device, both)).toThrow(expected);
    });
  });

  test("runs queued together keep their own inputs and results", async () => {
    const program = compile(() => ({ y: scale(input("x", "f32", [1]), 2) }));
    const run = program.bind(device, new Map());
    const x = new Float32Array(1);
    const results = Array.from({ length: 50 }, (_, i) => {
      x[0] = i; // copied when run is called
      return run.run({ x });
    });
    expect((await Promise.all(results)).map(({ y }) => y[0])).toEqual(Array.from({ length: 50 }, (_, i) => 2 * i));
  });
});

describe("gradients", () => {
  test("a value that is used twice gets both gradients", async () => {
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

  test("a loss that does not depend on a value is an error that names it", () => {
    const attempt = () =>
      compile(() => ({
        g: gradients(sum(tensor("a", "f32", [2])), [tensor("b", "f32", [2])], input("one", "f32", [1]))[0]!,
      }));
    expect(attempt).toThrowError(/gradients: expected a value that the loss depends on, got tensor b/);
  });
});

describe("errors", () => {
  test("shapes that do not fit say op, expected and got", () => {
    const attempt = () => compile(() => ({ y: linear(input("x", "f32", [2, 512]), tensor("w", "f32", [8, 576])) }));
    expect(attempt).toThrowError("linear: last dimension of x, expected 576, got 512");
  });

  test("an op outside compile", () => {
    expect(() => scale(undefined as never, 1)).toThrowError();
    expect(() => input("x", "f32", [1])).toThrowError(/expected to be called inside compile/);
  });

  test("a failed trace leaves the next one alone", () => {
    expect(() =>
      compile(() => {
        throw new Error("the author's own");
      }),
    ).toThrowError("the author's own");
    expect(compile(() => ({ y: scale(input("x", "f32", [1]), 1) })).arenaBytes).toBeGreaterThan(0);
  });

  test("tensors that are missing, of another shape, or disposed", async () => {
    const program = compile(() => ({ y: scale(tensor("w", "f32", [2]), 1) }));
    expect(() => program.bind(device, new Map())).toThrowError("bind: expected a tensor w, got none");
    const wrong = await tensors({ w: [[3], [1, 2, 3]] });
    expect(() => program.bind(device, wrong)).toThrowError("bind: tensor w, expected f32(2), got f32(3)");
    const gone = await tensors({ w: [[2], [1, 2]] });
    gone.get("w")!.dispose();
    gone.get("w")!.dispose(); // twice is harmless
    expect(() => program.bind(device, gone)).toThrowError(expect.objectContaining({ code: "DISPOSED" }));
    await expect(gone.get("w")!.read()).rejects.toMatchObject({ code: "DISPOSED" });
  });

  test("what is bound lives on after its tensor is disposed; a disposed executable says so", async () => {
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
  ])("openDevice refuses a wrong %s", (name, options) => {
    expect(() => openDevice(options)).toThrowError(new RegExp(`^${name}: expected .*, got `));
  });

  test("a CUDA device that is not there", () => {
    expect(() => openDevice({ device: "cuda:99" })).toThrowError(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});

test("an abort is answered within 50 ms, and the lane goes on", async () => {
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
