// The output of `heddle info` for people: labeled lines with units, not JSON.
import { describe, expect, test } from "vitest";
import type { AdapterInfo, MachineInfo, ModelInfo } from "../../../lib/cli/commands/info.ts";
import { adapterScreen, machineScreen, modelScreen } from "../../../lib/cli/terminal/info-screen.ts";
import { parseModelCard } from "../../../lib/formats/model-card.ts";

const machine: MachineInfo = {
  version: "1.2.3",
  devices: [
    { name: "cpu", threads: 8 },
    {
      index: 0,
      name: "cuda:0",
      model: "NVIDIA H100",
      computeCapability: "9.0",
      memoryBytes: 85_000_000_000,
      multiprocessors: 132,
      driver: "12.4",
      pciBusId: "0000:3b:00.0",
    },
  ],
  cudaDevices: 1,
  driver: null,
  instructionSets: { used: "avx512", supported: ["baseline", "avx2", "avx512"] },
  build: { compiler: "gcc 12", type: "Release", cuda: true, node: "22.1.0", platform: "linux-x64" },
};

const model = {
  path: "/models/a",
  format: "safetensors",
  architecture: "LlamaForCausalLM",
  parameters: 2_410_176,
  bytes: 4_820_352,
  context: 512,
  dtypes: ["BF16"],
  tokenizer: true,
  config: {},
  modelCard: null,
} as unknown as ModelInfo;

test("the screen shows the machine's devices with their units", () => {
  expect(machineScreen(machine)).toBe(
    `This machine
  heddle        1.2.3, built by gcc 12 (Release, with CUDA kernels)
  node          22.1.0 on linux-x64
  cpu           8 threads
  cuda:0        NVIDIA H100, 85 GB, compute capability 9.0, 132 multiprocessors, driver 12.4
  instructions  avx512 (also: baseline, avx2)`,
  );
});

test("the screen shows why CUDA has no devices", () => {
  expect(machineScreen({ ...machine, cudaProblem: "no driver" })).toContain("\n  cuda          no driver\n");
  const driver = { found: "550.54.15", needed: "580", toolkit: "13.0" };
  expect(machineScreen({ ...machine, driver })).toContain(
    "\n  driver        NVIDIA 550.54.15; the kernels need driver 580 or newer (CUDA 13.0)\n",
  );
  expect(machineScreen({ ...machine, driver: { ...driver, found: null } })).toContain(
    "driver        no NVIDIA driver; the",
  );
});

describe("a model", () => {
  test("is shown with its size, and with a note if it has no card", () => {
    expect(modelScreen(model)).toBe(
      `Model
  path          /models/a
  format        safetensors, BF16
  architecture  LlamaForCausalLM
  size          2.41 million parameters, 4.82 MB
  context       512 tokens
  tokenizer     included

No model card.`,
    );
  });

  test("is shown with its card: stages, data and evaluations, one per line", () => {
    const modelCard = parseModelCard({
      name: "a-dpo",
      stage: "dpo",
      stages: [
        { stage: "pretrain", tokens: 12_288_000 },
        { stage: "dpo", tokens: 900 },
      ],
      parent: "a",
      data: [{ name: "pairs.jsonl", license: "MIT", tokens: 900 }, { name: "text" }],
      tokensSeen: 12_288_900,
      trainingCutoffDate: "2026-07",
      evaluations: [{ name: "held-out text", metric: "loss (nats per token)", value: 5.84999 }],
    });
    const screen = modelScreen({ ...model, modelCard });
    expect(screen).toContain("  stages        pretrain (12.3 million tokens), then dpo (900 tokens)\n");
    expect(screen).toContain("  data until    2026-07");
    expect(screen).toContain("Trained on\n  -  pairs.jsonl (MIT; 900 tokens)\n  -  text\n");
    expect(screen).toContain("Measured\n  -  held-out text: loss (nats per token) 5.85");
    expect(screen).not.toMatch(/[{}[\]"]/);
  });

  test("is shown with long parts truncated, and with the number of omitted parts", () => {
    const data = Array.from({ length: 100 }, (_, i) => ({ name: `part-${i}.txt` }));
    const modelCard = parseModelCard({ stage: "sft", data, notes: "long ".repeat(1000) });
    const screen = modelScreen({ ...model, modelCard });
    expect(screen).toContain("  -  part-11.txt\n  -  and 88 more");
    expect(screen).not.toContain("part-12.txt");
    expect(screen.replace(/\s+/g, " ")).toContain("… (--json has all)");
    expect(screen.length).toBeLessThan(3000);
  });

  test("is shown with the control characters of its card as codes", () => {
    const modelCard = parseModelCard({
      stage: "sft",
      name: "evil\u001b[2J",
      notes: "a\nb",
      data: [{ name: "\u0007x" }],
    });
    const screen = modelScreen({ ...model, modelCard });
    expect(screen).toContain("evil\\x1b[2J");
    expect(screen).toContain("a b");
    expect(screen).toContain("\\x07x");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the screen must not contain them
    expect(screen).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });
});

test("an adapter is shown with its base and its rank", () => {
  const adapter = {
    path: "/models/lora",
    adapter: {
      r: 8,
      alpha: 16,
      useRslora: true,
      targetModules: ["q_proj", "v_proj"],
      taskType: "CAUSAL_LM",
      base: "../a",
    },
    parameters: 9216,
    bytes: 36_864,
    dtypes: ["F32"],
    modelCard: null,
  } as AdapterInfo;
  expect(adapterScreen(adapter)).toBe(
    `Adapter
  path          /models/lora
  base          ../a
  rank          8, alpha 16, rank-stabilized
  layers        q_proj, v_proj
  task          CAUSAL_LM
  size          9,216 parameters, 36.9 kB, F32

No model card.`,
  );
});
