import { join } from "node:path";
import { ADAPTER_WEIGHTS_FILE, readAdapterConfig } from "../../formats/adapter-config.ts";
import { classifierClass } from "../../formats/config/heads.ts";
import { readModelCard } from "../../formats/model-card.ts";
import { openModelFiles } from "../../formats/model-files.ts";
import { openWeights } from "../../formats/weights.ts";
import { elementCount } from "../../graph/dtype.ts";
import { deviceInfo } from "../../graph/index.ts";
import { isAdapterFolder } from "../../language-model/adapters.ts";
import { modelPath } from "../../language-model/index.ts";
import { modelWeights } from "../../models/heads.ts";
import { familyOf } from "../../models/registry.ts";
import { contextLimit } from "../../models/rope-frequencies.ts";
import { defineCommand } from "../command.ts";
import { neededDriver, nvidiaDriver } from "../machine/system.ts";
import { adapterScreen, machineScreen, modelScreen } from "../terminal/info-screen.ts";

export const command = defineCommand({
  about:
    "Shows information about the build and the machine, and with --model about a model. Reads only the headers of its files.",
  options: {},
  without: { device: "no device", threads: "no threads", profile: "no profile" },
  async run({ options, out }) {
    const machine = machineInfo();
    const path = options.model === undefined ? undefined : await modelPath(options.model);
    if (path === undefined) {
      if (out.json) out.object(machine);
      else out.line(machineScreen(machine));
      return;
    }
    const found = (await isAdapterFolder(path)) ? await adapterInfo(path) : await modelInfo(path);
    if (out.json) out.object({ ...machine, ...found });
    else out.line(`${machineScreen(machine)}\n\n${"adapter" in found ? adapterScreen(found) : modelScreen(found)}`);
  },
});

/** The facts that `heddle info` prints about the machine. */
export type MachineInfo = ReturnType<typeof machineInfo>;
/** The facts that `heddle info` prints about an adapter. */
export type AdapterInfo = Awaited<ReturnType<typeof adapterInfo>>;
/** The facts that `heddle info` prints about a model. */
export type ModelInfo = Awaited<ReturnType<typeof modelInfo>>;

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
    // A build without CUDA kernels needs no driver.
    driver: cuda.built
      ? { found: nvidiaDriver() ?? null, needed: neededDriver(cuda.toolkit) ?? null, toolkit: cuda.toolkit }
      : null,
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

/** Describes an adapter's folder. The result has the base model's name only, because that model may be missing on this machine. */
async function adapterInfo(path: string) {
  const { alpha, baseModel, r, targetModules, taskType, useRslora } = await readAdapterConfig(path);
  const weights = await openWeights(join(path, ADAPTER_WEIGHTS_FILE));
  try {
    const infos = weights.names().map((n) => weights.info(n));
    return {
      path,
      adapter: { r, alpha, useRslora, targetModules, taskType, base: baseModel ?? null },
      parameters: infos.reduce((n, { shape }) => n + elementCount(shape), 0),
      bytes: infos.reduce((n, i) => n + i.bytes, 0),
      dtypes: [...new Set(infos.map((i) => i.storedDtype))],
      modelCard: (await readModelCard(path)) ?? null,
    };
  } finally {
    weights.close();
  }
}

async function modelInfo(path: string) {
  const files = await openModelFiles(path);
  try {
    const { config, weights, card } = files;
    const family = familyOf(config.modelType);
    const expected = modelWeights(config);
    const infos = weights.names().map((n) => weights.info(n));
    // Count only weights of the architecture. A stored copy of a tied output head is not one of them.
    const parameters = infos.filter((i) => expected.has(i.name)).reduce((n, i) => n + elementCount(i.shape), 0);
    return {
      path,
      format: weights.format,
      architecture: config.classifier ? classifierClass(family.architecture, config.classifier) : family.architecture,
      ...(config.classifier && { classifier: config.classifier }),
      parameters,
      bytes: infos.reduce((n, i) => n + i.bytes, 0),
      context: contextLimit(config),
      dtypes: [...new Set(infos.map((i) => i.storedDtype))],
      tokenizer: files.tokenizerPath !== undefined,
      config,
      modelCard: card ?? null,
    };
  } finally {
    files.close();
  }
}
