import { classifierClass } from "../formats/heads.ts";
import { openModelFiles } from "../formats/model-files.ts";
import { modelPath } from "../generate/index.ts";
import { deviceInfo } from "../graph/index.ts";
import { modelWeights } from "../models/heads.ts";
import { familyOf } from "../models/registry.ts";
import { defineCommand } from "./command.ts";
import type { Output } from "./output.ts";

export const command = defineCommand({
  about: "Shows this build and this machine; with --model a model, of which only the headers are read.",
  options: {},
  async run({ options, out }) {
    const machine = machineInfo();
    const model = options.model === undefined ? {} : await modelInfo(options.model);
    if (out.json) out.object({ ...machine, ...model });
    else {
      show(out, machine);
      show(out, model);
    }
  },
});

function machineInfo() {
  const { version, compiler, buildType, cuda, cpu } = deviceInfo();
  return {
    version,
    devices: [
      { name: "cpu", threads: cpu.threads },
      ...cuda.devices.map((d) => ({ ...d, name: `cuda:${d.index}`, model: d.name })),
    ],
    cudaDevices: cuda.devices.length,
    ...(cuda.problem && { cudaProblem: cuda.problem }),
    instructionSets: { used: cpu.isa, supported: cpu.supported },
    build: {
      compiler,
      type: buildType,
      cuda: cuda.built,
      node: process.versions.node,
      platform: `${process.platform}-${process.arch}`,
    },
  };
}

async function modelInfo(name: string) {
  const path = modelPath(name);
  const files = await openModelFiles(path);
  try {
    const { config, weights, card } = files;
    const family = familyOf(config.modelType);
    const expected = modelWeights(config);
    const count = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);
    const infos = weights.names().map((n) => weights.info(n));
    // A tied head that is stored all the same is not a parameter of its own.
    const parameters = infos.filter((i) => expected.has(i.name)).reduce((n, i) => n + count(i.shape), 0);
    return {
      path,
      format: weights.format,
      architecture: config.classifier ? classifierClass(family.architecture, config.classifier) : family.architecture,
      ...(config.classifier && { classifier: config.classifier }),
      parameters,
      bytes: infos.reduce((n, i) => n + i.bytes, 0),
      context: config.maxPositionEmbeddings,
      dtypes: [...new Set(infos.map((i) => i.storedDtype))],
      tokenizer: files.tokenizerPath !== undefined,
      config,
      modelCard: card ?? null,
    };
  } finally {
    files.close();
  }
}

function show(out: Output, values: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(values)) {
    if (name === "config") continue;
    out.line(`${name.padEnd(16)} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`);
  }
}
