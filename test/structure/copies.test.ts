// A program that both imports and requires the package loads two copies of it (ESM and CJS), which must work together.
import { expect, test, vi } from "vitest";

async function copy() {
  vi.resetModules();
  return {
    errors: await import("../../lib/core/errors.ts"),
    graph: await import("../../lib/graph/index.ts"),
  };
}

test("errors of one copy are instances of the other's class", async () => {
  const [a, b] = [await copy(), await copy()];
  expect(a.errors.HeddleError).not.toBe(b.errors.HeddleError);
  const error = new a.errors.HeddleError("IO", "disk: expected room, got none");
  expect(error instanceof b.errors.HeddleError).toBe(true);
  expect(error instanceof Error).toBe(true);
  for (const other of [new Error("x"), { code: "IO" }, null, undefined, "IO", Object.create(null)])
    expect((other as unknown) instanceof b.errors.HeddleError).toBe(false);
  class Own extends b.errors.HeddleError {}
  expect(error instanceof Own).toBe(false);
  expect(new Own("IO", "x") instanceof Own).toBe(true);
  expect(new Own("IO", "x") instanceof a.errors.HeddleError).toBe(true);
  expect(Object.keys(error)).toEqual(["name", "code"]);
});

test("an error serialized to JSON contains its message", async () => {
  const { errors } = await copy();
  const text = JSON.stringify({ error: new errors.HeddleError("IO", "disk: full", { cause: new Error("ENOSPC") }) });
  expect(JSON.parse(text)).toEqual({ error: { name: "HeddleError", code: "IO", message: "disk: full" } });
});

test("ops and devices of one copy work in a program of the other", async () => {
  const [a, b] = [await copy(), await copy()];
  const rows = new a.graph.Dimension("rows", 4);
  const program = a.graph.compile(() => {
    const x = b.graph.input("x", "f32", [rows, 2]);
    return { y: a.graph.add(b.graph.scale(x, 2), x) };
  });
  const device = b.graph.openDevice();
  const executable = program.bind(a.graph.openDevice({ device }), new Map());
  const { y } = await executable.run({ x: Float32Array.of(1, 2, 3, 4) });
  expect([...y!]).toEqual([3, 6, 9, 12]);
  executable.dispose();
  expect(() => a.graph.compile(() => ({ y: {} as never }))).toThrow("a value of the graph");
  expect(() => b.graph.input("x", "f32", [1])).toThrow("inside compile()");
});
