// A process without free file descriptors must not take an intact checkpoint for a damaged one.
import type * as fs from "node:fs/promises";
import { expect, test, vi } from "vitest";
import { HeddleError } from "../../lib/core/errors.ts";
import { latestIntact, saveCheckpoint } from "../../lib/formats/checkpoint/checkpoint.ts";
import type * as digest from "../../lib/formats/digest.ts";
import { openDevice } from "../../lib/graph/index.ts";
import { expectError, temporaryFolder } from "./helpers.ts";

const system = vi.hoisted(() => ({ native: undefined as string | undefined, node: undefined as string | undefined }));

// The native code maps the file, and its error has no system code. Node's error has one.
vi.mock("../../lib/formats/digest.ts", async (original) => {
  const real = await original<typeof digest>();
  return {
    ...real,
    digestOfFile: async (...args: Parameters<typeof real.digestOfFile>) => {
      if (system.native !== undefined) throw new HeddleError("IO", system.native);
      return real.digestOfFile(...args);
    },
  };
});
vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof fs>();
  return {
    ...real,
    open: async (...args: Parameters<typeof real.open>) => {
      if (system.node !== undefined && String(args[0]).endsWith("model.safetensors"))
        throw Object.assign(new Error(system.node), { code: system.node });
      return real.open(...args);
    },
  };
});

test("a checkpoint whose files cannot be opened for lack of descriptors is not skipped, but one with a bad disk block is", async () => {
  const folder = temporaryFolder();
  const content = (step: number) => ({
    tensors: { "model.safetensors": [{ name: "w", dtype: "f32" as const, shape: [1], bytes: new Uint8Array(4) }] },
    state: { step },
    files: {},
  });
  await saveCheckpoint(folder, 1, content(1));
  await saveCheckpoint(folder, 2, content(2));
  const reading = { device: openDevice({ device: "cpu", threads: 1 }) };
  Object.assign(system, { native: "model.safetensors: Too many open files", node: "EMFILE" });
  await expectError(() => latestIntact(folder, reading), "IO", /model\.safetensors.*EMFILE/);
  Object.assign(system, { native: "model.safetensors: Input/output error", node: undefined });
  const { latest, passed } = await latestIntact(folder, reading);
  expect(latest).toBeUndefined();
  expect(passed.map(({ why }) => why)).toEqual(
    Array(2).fill("model.safetensors: model.safetensors: Input/output error"),
  );
});
