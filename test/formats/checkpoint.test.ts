import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import {
  type CheckpointContent,
  latestCheckpoint,
  listCheckpoints,
  readCheckpointState,
  saveCheckpoint,
} from "../../lib/formats/checkpoint/checkpoint.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { left } from "../helpers/left.ts";
import { expectError, temporaryFolder } from "./helpers.ts";

function content(step: number, size = 1000): CheckpointContent {
  const tensor = (name: string): TensorData => ({
    name,
    dtype: "f32",
    shape: [size],
    bytes: () => new Uint8Array(new Float32Array(size).fill(step).buffer),
  });
  return {
    tensors: { "model.safetensors": [tensor("w")], "optimizer.safetensors": [tensor("w.m"), tensor("w.v")] },
    state: { step, rng: [1, 2, 3] },
    files: { "config.json": "{}" },
  };
}

async function firstValue(path: string): Promise<number> {
  const weights = await openWeights(join(path, "model.safetensors"));
  const { file, offset } = weights.tensor("w");
  const [value] = new Float32Array(file.bytes(offset, 4));
  weights.close();
  return value!;
}

test("checkpoints are saved, listed, read back and limited in number", async () => {
  const folder = join(temporaryFolder(), "deep", "out");
  expect(await latestCheckpoint(folder)).toBeUndefined();
  for (const step of [5, 10, 20, 100]) await saveCheckpoint(folder, step, content(step), { saveTotalLimit: 3 });
  expect(await listCheckpoints(folder)).toEqual(
    [10, 20, 100].map((step, i) => ({ path: join(folder, `checkpoint-${step}`), step, order: i + 2 })),
  );
  const latest = (await latestCheckpoint(folder))!;
  expect(latest.step).toBe(100);
  expect(await readCheckpointState(latest.path)).toEqual({ step: 100, rng: [1, 2, 3] });
  expect(await firstValue(latest.path)).toBe(100);
  expect(readdirSync(latest.path).sort()).toEqual([
    "checkpoint.json",
    "config.json",
    "model.safetensors",
    "optimizer.safetensors",
    "trainer_state.json",
  ]);
  expect(readdirSync(folder).sort()).toEqual(["checkpoint-10", "checkpoint-100", "checkpoint-20"]);
});

test("checkpoints of a restarted run are newer than those of the previous run, whatever their steps", async () => {
  const folder = temporaryFolder();
  for (const step of [8, 10]) await saveCheckpoint(folder, step, content(step), { saveTotalLimit: 2 });
  for (const step of [4, 8]) await saveCheckpoint(folder, step, content(step), { saveTotalLimit: 2 });
  expect((await listCheckpoints(folder)).map(({ step }) => step)).toEqual([4, 8]);
  expect((await latestCheckpoint(folder))?.step).toBe(8);
});

test("checkpoints without an order field, of old versions, come first, sorted by step", async () => {
  const folder = temporaryFolder();
  for (const step of [100, 20]) {
    const { path } = await saveCheckpoint(folder, step, content(step));
    const { files } = JSON.parse(readFileSync(join(path, "checkpoint.json"), "utf8"));
    writeFileSync(join(path, "checkpoint.json"), JSON.stringify({ step, files }));
  }
  await saveCheckpoint(folder, 3, content(3));
  expect((await listCheckpoints(folder)).map(({ step }) => step)).toEqual([20, 100, 3]);
});

test("a checkpoint of the same step is replaced", async () => {
  const folder = temporaryFolder();
  await saveCheckpoint(folder, 1, content(1));
  await saveCheckpoint(folder, 1, { ...content(7), state: "other" });
  expect(await firstValue(join(folder, "checkpoint-1"))).toBe(7);
  expect(readdirSync(folder)).toEqual(["checkpoint-1"]);
});

describe("after an interruption", () => {
  test("incomplete checkpoints are skipped", async () => {
    const folder = temporaryFolder();
    for (const step of [1, 2, 3, 4]) await saveCheckpoint(folder, step, content(step));
    truncateSync(join(folder, "checkpoint-4", "model.safetensors"), 100);
    rmSync(join(folder, "checkpoint-3", "checkpoint.json"));
    writeFileSync(join(folder, "checkpoint-2", "checkpoint.json"), "{");
    writeFileSync(join(folder, "checkpoint-9"), "not a folder");
    mkdirSync(join(folder, "checkpoint-8"));
    cpSync(join(folder, "checkpoint-1"), join(folder, "checkpoint-7"), { recursive: true }); // its manifest has step 1
    expect((await latestCheckpoint(folder))?.step).toBe(1);
  });

  test("temp folders of dead processes are removed, and those of live processes and other hosts are kept", async () => {
    const folder = temporaryFolder();
    const dead = left(".tmp-checkpoint-3");
    const living = left(".tmp-checkpoint-3", "", process.ppid);
    const elsewhere = ".tmp-checkpoint-3.otherhost.1.000000ff";
    for (const name of [dead, living, elsewhere]) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "model.safetensors"), "x");
    }
    await saveCheckpoint(folder, 4, content(4));
    expect(readdirSync(folder).sort()).toEqual([elsewhere, living, "checkpoint-4"].sort());
  });

  test("a checkpoint is restored if its replacement was interrupted", async () => {
    const folder = temporaryFolder();
    await saveCheckpoint(folder, 4, content(4));
    renameSync(join(folder, "checkpoint-4"), join(folder, left(".old-checkpoint-4")));
    expect((await latestCheckpoint(folder))?.step).toBe(4);
    expect(readdirSync(folder)).toEqual(["checkpoint-4"]);
  });

  test("an error while saving leaves the last checkpoint and no temp files", async () => {
    const folder = temporaryFolder();
    await saveCheckpoint(folder, 1, content(1));
    const failing: CheckpointContent = {
      ...content(2),
      tensors: {
        "model.safetensors": [
          {
            name: "w",
            dtype: "f32",
            shape: [1],
            bytes: () => {
              throw new Error("the device is gone");
            },
          },
        ],
      },
    };
    await expectError(() => saveCheckpoint(folder, 2, failing), "IO", /the device is gone/);
    await expectError(
      () => saveCheckpoint(folder, 2, { ...content(2), signal: AbortSignal.abort() }),
      "ABORTED",
      /aborted/,
    );
    expect(readdirSync(folder)).toEqual(["checkpoint-1"]);
  });
});

test("saveCheckpoint rejects invalid arguments", async () => {
  const folder = temporaryFolder();
  await expectError(
    () => saveCheckpoint(folder, -1, content(1)),
    "INVALID_ARGUMENT",
    /step: expected a whole number of at least 0, got -1/,
  );
  await expectError(
    () => saveCheckpoint(folder, 1, content(1), { saveTotalLimit: 0 }),
    "INVALID_ARGUMENT",
    /saveTotalLimit/,
  );
  await expectError(
    () => saveCheckpoint(folder, 1, { ...content(1), files: { "../x": "" } }),
    "INVALID_ARGUMENT",
    /plain file name/,
  );
  await expectError(
    () => saveCheckpoint(folder, 1, { ...content(1), files: { "checkpoint.json": "" } }),
    "INVALID_ARGUMENT",
    /other than/,
  );
  await expectError(() => saveCheckpoint(folder, 1, { ...content(1), state: undefined }), "INVALID_ARGUMENT", /state/);
  writeFileSync(join(folder, "file"), "");
  await expectError(() => saveCheckpoint(join(folder, "file", "x"), 1, content(1)), "NOT_FOUND", /created/);
});

// Saves checkpoints of 4 MB in a tight loop and prints each completed step.
const program = `
  import { saveCheckpoint } from ${JSON.stringify(fileURLToPath(new URL("../../lib/formats/checkpoint/checkpoint.ts", import.meta.url)))};
  const [folder, first] = process.argv.slice(-2);
  const size = 500_000;
  for (let step = Number(first); ; step++) {
    const bytes = new Uint8Array(new Float32Array(size).fill(step).buffer);
    const tensors = { "model.safetensors": [{ name: "w", dtype: "f32", shape: [size], bytes }],
                      "optimizer.safetensors": [{ name: "m", dtype: "f32", shape: [size], bytes }] };
    await saveCheckpoint(folder, step, { tensors, state: { step } }, { saveTotalLimit: 2 });
    console.log(step);
  }
`;

/** Starts `program` in a child process. Node 20 cannot run TypeScript, so use jiti, which heddle uses for configuration files. */
function start(folder: string, first: number, prefix: string[] = []) {
  const script = join(folder, "..", "saver.ts");
  writeFileSync(script, program);
  const jiti = fileURLToPath(new URL("../../node_modules/jiti/lib/jiti-cli.mjs", import.meta.url));
  const command = [...prefix, process.execPath, jiti, script, folder, String(first)];
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  const output = { steps: [] as number[], error: "" };
  child.stdout.on("data", (data: Buffer) => {
    for (const line of data.toString().split("\n")) if (line !== "") output.steps.push(Number(line));
  });
  child.stderr.on("data", (data: Buffer) => {
    output.error += data.toString();
  });
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  return { child, output, ended };
}

test("after kill -9 at any moment, the latest checkpoint is complete and not older than the last reported step", async () => {
  const folder = join(temporaryFolder(), "out");
  let reported = 0;
  for (let round = 0; round < 8; round++) {
    const { child, output, ended } = start(folder, reported + 1);
    const deadline = performance.now() + 20_000;
    while (output.steps.length < 2 && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, round * 7));
    child.kill("SIGKILL");
    await ended;
    expect(output.error).toBe("");
    expect(output.steps.length).toBeGreaterThanOrEqual(2);
    const latest = (await latestCheckpoint(folder))!;
    expect(latest.step).toBeGreaterThanOrEqual(output.steps.at(-1)!);
    expect(await readCheckpointState(latest.path)).toEqual({ step: latest.step });
    for (const name of ["model", "optimizer"]) {
      const weights = await openWeights(join(latest.path, `${name}.safetensors`));
      const { file, offset, bytes } = weights.tensor(name === "model" ? "w" : "m");
      expect(new Float32Array(file.bytes(offset, bytes)).every((value) => value === latest.step)).toBe(true);
      weights.close();
    }
    reported = latest.step;
  }
  // At most the last process's temp folders remain. The next save removes them.
  await saveCheckpoint(folder, reported + 1, content(reported + 1), { saveTotalLimit: 1 });
  expect(readdirSync(folder)).toEqual([`checkpoint-${reported + 1}`]);
});

test.skipIf(process.platform === "win32")(
  "a write beyond the file size limit is an IO error, and the last checkpoint is kept",
  async () => {
    const folder = join(temporaryFolder(), "out");
    await saveCheckpoint(folder, 1, content(1));
    // bash's `ulimit -f` counts KiB. Node ignores SIGXFSZ, so the write fails with EFBIG.
    const { output, ended } = start(folder, 2, ["bash", "-c", 'ulimit -f 1000; exec "$@"', "bash"]);
    await ended;
    expect(output.steps).toEqual([]);
    expect(output.error).toMatch(/checkpoint-2.*cannot be written: the file exceeds the allowed size/);
    expect(output.error).toMatch(/HeddleError/);
    expect(output.error).toMatch(/^ {2}code: 'IO'/m);
    expect(readdirSync(folder)).toEqual(["checkpoint-1"]);
    expect(readFileSync(join(folder, "checkpoint-1", "trainer_state.json"), "utf8")).toContain('"step": 1');
  },
);
