// npm run bench -- [SUITE ...] [--only TEXT] [--rounds N] [--threads N] [--no-peers]: JSON lines on stdout, the machine first. npm run
// bench -- plot FILE.jsonl: draws the growth suite's results as an SVG next to the file.
import { parseArgs } from "node:util";
import { type Device, openDevice } from "../lib/graph/index.ts";
import { describeMachine } from "./machine.ts";
import { report } from "./measure.ts";

type Suite = (device: Device, options: { rounds: number; peers: boolean; only: string }) => Promise<void>;

const suites: Record<string, () => Promise<Suite>> = {
  ops: async () => (await import("./ops.ts")).benchOps,
  inference: async () => (await import("./inference.ts")).benchInference,
  prefill: async () => (await import("./prefill.ts")).benchPrefill,
  embed: async () => (await import("./embed.ts")).benchEmbed,
  speculative: async () => (await import("./speculative.ts")).benchSpeculative,
  logits: async () => (await import("./logits.ts")).benchLogits,
  loop: async () => (await import("./loop.ts")).benchLoop,
  firstTokens: async () => (await import("./first-tokens.ts")).benchFirstTokens,
  load: async () => (await import("./load.ts")).benchLoad,
  tokenizer: async () => (await import("./tokenizer.ts")).benchTokenizer,
  growth: async () => (await import("./growth.ts")).benchGrowth,
  train: async () => (await import("./train.ts")).benchTrain,
  finetune: async () => (await import("./finetune.ts")).benchFinetune,
  tokenizerTrain: async () => (await import("./tokenizer_train.ts")).benchTokenizerTrain,
  rollout: async () => (await import("./rollout.ts")).benchRollout,
  preference: async () => (await import("./preference.ts")).benchPreference,
  memory: async () => (await import("./memory.ts")).benchMemory,
  ranks: async () => (await import("./ranks.ts")).benchRanks,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    rounds: { type: "string", default: "7" },
    only: { type: "string", default: "" }, // part of a case's name; for inference a model, or a model and a type (135M:q8_0)
    threads: { type: "string" },
    peers: { type: "boolean", default: true },
  },
});

if (positionals[0] === "plot") await (await import("./plot.ts")).plotGrowth(positionals[1]);
else {
  const unknown = positionals.find((name) => !suites[name]);
  if (unknown) throw new Error(`bench: expected plot or one of ${Object.keys(suites).join(", ")}, got ${unknown}`);
  const device = openDevice({ threads: values.threads === undefined ? undefined : Number(values.threads) });
  report({ machine: describeMachine(device.threads) });
  for (const name of positionals.length ? positionals : Object.keys(suites)) {
    const suite = await suites[name]!();
    await suite(device, { rounds: Number(values.rounds), peers: values.peers, only: values.only });
  }
}
