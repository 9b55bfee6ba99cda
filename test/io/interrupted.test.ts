// Fails or kills a write at each of its file system operations. The folder then holds the old version, the new one, or one that fails
// to load, never a mixture. A failed write leaves no temp files and reports the cause.
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { HeddleError } from "../../lib/core/errors.ts";
import { latestIntact, readCheckpointState, saveCheckpoint } from "../../lib/formats/checkpoint/checkpoint.ts";
import { openModelFiles, readModelConfig } from "../../lib/formats/model-files.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { openDevice } from "../../lib/graph/index.ts";
import { writeFileAtomically } from "../../lib/io/atomic-files.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { saveWeights } from "../formats/write-weights.ts";
import { faults } from "../helpers/failing-fs.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";

vi.mock("node:fs/promises", async (original) => {
  const { failing } = await import("../helpers/failing-fs.ts");
  return failing(await original());
});

/** Something that can overwrite an earlier version, and a reader that returns the version found. */
interface Case {
  name: string;
  write(folder: string, version: 1 | 2): Promise<unknown>;
  /** @throws HeddleError if nothing can be read; any other error indicates a mixture */
  read(folder: string): Promise<number>;
}

/** The common value; throws if values differ. */
function commonValue(values: readonly number[]): number {
  if (new Set(values).size !== 1) throw new Error(`a mixture: ${values}`);
  return values[0]!;
}

function tensors(version: number): TensorData[] {
  return ["a", "b", "c"].map((name) => ({
    name,
    dtype: "f32",
    shape: [64],
    bytes: new Uint8Array(new Float32Array(64).fill(version).buffer),
  }));
}

async function versionOfWeights(folder: string): Promise<number> {
  const weights = await openWeights(folder);
  try {
    return commonValue(
      weights.names().flatMap((name) => {
        const { file, offset, bytes } = weights.tensor(name);
        return [...new Float32Array(file.bytes(offset, bytes))];
      }),
    );
  } finally {
    weights.close();
  }
}

const weights = (name: string, before: number, after: number): Case => ({
  name,
  write: (folder, version) => saveWeights(folder, tensors(version), { maxShardBytes: version === 1 ? before : after }),
  read: versionOfWeights,
});

const models = temporaryFolder();
/** The version of a model's weights, configuration and card. */
async function versionOfModel(folder: string): Promise<number> {
  const { ropeTheta } = await readModelConfig(folder);
  const opened = await openWeights(folder);
  const { file, offset } = opened.tensor("model.norm.weight");
  const [norm] = new Float32Array(file.bytes(offset, 4));
  opened.close();
  return commonValue([norm!, ropeTheta! / 10_000]);
}

async function saveModel(folder: string, version: number): Promise<void> {
  await using model = tinyModel({}, { ropeTheta: 10_000 * version });
  const norm = model.model.weight("model.norm.weight");
  await norm.write(new Float32Array(norm.elements).fill(version));
  await model.save(folder);
}

/** Saves a model. Version 1 has templates, a generation config and an embedding config, which version 2 must remove. */
async function saveOverridden(folder: string, version: 1 | 2): Promise<void> {
  const tokenizer = await tinyTokenizer();
  const embedding = { embedding: { pooling: "mean" } } as const;
  await using model = tinyModel({ tokenizer, seed: version }, version === 1 ? embedding : {});
  const norm = model.model.weight("model.norm.weight");
  await norm.write(new Float32Array(norm.elements).fill(version));
  await model.save(folder);
  if (version === 2) return;
  mkdirSync(join(folder, "additional_chat_templates"), { recursive: true });
  for (const name of ["chat_template.jinja", "additional_chat_templates/tool.jinja"])
    writeFileSync(join(folder, name), "of version 1");
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ temperature: 1.5 }));
}

async function versionOfOverridden(folder: string): Promise<number> {
  const { config, weights, generation, close } = await openModelFiles(folder);
  const { file, offset } = weights.tensor("model.norm.weight");
  const [norm] = new Float32Array(file.bytes(offset, 4));
  close();
  const { chatTemplates } = (await Tokenizer.load(folder)).config;
  const marksOfVersion1 = [
    config.embedding !== undefined,
    generation.temperature === 1.5,
    chatTemplates.tool === "of version 1",
    chatTemplates.default === "of version 1",
  ];
  return commonValue([norm!, ...marksOfVersion1.map((first) => (first ? 1 : 2))]);
}

const cases: Case[] = [
  {
    name: "a file",
    write: (folder, version) =>
      writeFileAtomically(join(folder, "file"), (sink) => sink.write(Buffer.alloc(3_000_000, version))),
    read: async (folder) => commonValue([...new Set(readFileSync(join(folder, "file")))]),
  },
  weights("a weights file over another", 1e9, 1e9),
  weights("weights in shards over the same number of shards", 300, 300),
  weights("shards over one file", 1e9, 300),
  weights("one file over shards", 300, 1e9),
  weights("weights in shards over fewer shards", 600, 300),
  { name: "a model", write: saveModel, read: versionOfModel },
  { name: "a model over one with additional files", write: saveOverridden, read: versionOfOverridden },
  {
    name: "a tokenizer over one with a chat template",
    async write(folder, version) {
      const tokenizer = await tinyTokenizer();
      await tokenizer.save(folder);
      if (version === 1) writeFileSync(join(folder, "chat_template.jinja"), "of version 1");
    },
    read: async (folder) => ((await Tokenizer.load(folder)).config.chatTemplates.default === "of version 1" ? 1 : 2),
  },
  {
    name: "a converted folder",
    write: (folder, version) => convertModel(join(models, String(version)), folder, { maxShardBytes: 60_000 }),
    read: versionOfModel,
  },
  {
    name: "a GGUF file",
    write: (folder, version) => convertModel(join(models, String(version)), join(folder, "model.gguf")),
    read: async (folder) => {
      const opened = await openWeights(join(folder, "model.gguf"));
      const { file, offset } = opened.tensor("output_norm.weight");
      const [norm] = new Float32Array(file.bytes(offset, 4));
      opened.close();
      return norm!;
    },
  },
  {
    name: "a checkpoint over one of the same step, which also removes older ones",
    async write(folder, version) {
      const content = (state: number) => ({ tensors: { "model.safetensors": tensors(state) }, state });
      if (version === 1) await saveCheckpoint(folder, 1, content(0));
      await saveCheckpoint(folder, 2, content(version), { saveTotalLimit: version === 1 ? 2 : 1 });
    },
    async read(folder) {
      // Put the id of a dead process into the names of temp files, because the next process would find such names.
      for (const name of readdirSync(folder))
        renameSync(
          join(folder, name),
          join(folder, name.replace(new RegExp(`\\.${process.pid}(-\\w+)?\\.`), ".4194305.")),
        );
      const { latest } = await latestIntact(folder, { device: openDevice({ device: "cpu" }) });
      if (latest?.step !== 2) throw new Error(`expected checkpoint-2, got ${latest?.path}`);
      return commonValue([(await readCheckpointState(latest.path)) as number, await versionOfWeights(latest.path)]);
    },
  },
];

beforeAll(async () => {
  for (const version of [1, 2]) await saveModel(join(models, String(version)), version);
});

describe.each(cases)("$name", ({ name, write, read }) => {
  const before = temporaryFolder();
  const folder = join(temporaryFolder(), "out");
  let changes: typeof faults.changes;
  /** Index of the first change that affects the earlier version; renames start here. */
  let firstVisibleChange: number;

  const restoreVersion1 = () => {
    rmSync(folder, { recursive: true, force: true });
    cpSync(before, folder, { recursive: true });
  };

  beforeAll(async () => {
    faults.watch();
    await write(before, 1);
    expect(await read(before)).toBe(1);
    restoreVersion1();
    faults.watch();
    await write(folder, 2);
    changes = faults.changes;
    expect(await read(folder)).toBe(2);
    firstVisibleChange = changes.findIndex((change) => change.name === "rename" || change.name === "rm");
    expect(firstVisibleChange).toBeGreaterThan(0);
  });

  const attempt = async () => {
    try {
      await write(folder, 2);
      return undefined;
    } catch (error) {
      return error as HeddleError;
    } finally {
      faults.watch();
    }
  };
  /** The version found; undefined if reading fails with a HeddleError. */
  const versionOrUndefined = async (at: number) => {
    try {
      return await read(folder);
    } catch (error) {
      expect(error, `change ${at} of ${name}`).toBeInstanceOf(HeddleError);
      // A folder may lack a complete version only between the renames of several files.
      const renames = changes.flatMap((change, i) => (change.name === "rename" ? [i] : []));
      expect(renames.length, `renames, unreadable after change ${at} of ${name}`).toBeGreaterThan(1);
      expect(at, `unreadable change of ${name}`).toBeGreaterThan(firstVisibleChange);
      expect(at, `unreadable change of ${name}`).toBeLessThanOrEqual(renames.at(-1)!);
      return undefined;
    }
  };

  test.each(["ENOSPC", "EIO"])("is never a mixture of versions if a file operation fails with %s", async (code) => {
    for (let at = 0; at < changes.length; at++) {
      restoreVersion1();
      faults.failAt(at, code);
      const error = await attempt();
      const label = `${changes[at]!.name} ${changes[at]!.path} (${at} of ${changes.length}, names from ${firstVisibleChange})`;
      if (error) {
        expect(error, label).toBeInstanceOf(HeddleError);
        expect(error.message, label).toMatch(code === "ENOSPC" ? /: no space left on the disk$/ : /: EIO: refused/);
        expect(error.code, label).toBe("IO");
      }
      // Temp files are removed, unless removal itself failed.
      const hidden = readdirSync(folder).filter((entry) => entry.startsWith("."));
      if (changes[at]!.name !== "rm") expect(hidden, label).toEqual([]);
      const version = await versionOrUndefined(at);
      if (at < firstVisibleChange) expect(version, label).toBe(1);
      if (!error) expect(version, label).toBe(2);
    }
  });

  test("is never a mixture of versions if the process is killed at a file operation", async () => {
    for (let at = 0; at < changes.length; at++) {
      restoreVersion1();
      faults.killAt(at);
      await attempt();
      const version = await versionOrUndefined(at);
      if (at <= firstVisibleChange) expect(version, `change ${at}`).toBe(1);
      expect([1, 2, undefined]).toContain(version);
    }
  });
});
