// npm run bench -- [SUITE ...] [--only TEXT] [--rounds N] [--threads N] [--no-peers]: JSON lines on stdout, the machine first. npm run
// bench -- plot FILE.jsonl: draws the growth suite's results as an SVG next to the file. npm run bench -- compare FOLDER: compares two
// checkouts (compare.ts). npm run bench -- alternate FOLDER: compares two builds in one process (alternate.ts).
import { parseArgs } from "node:util";
import { type Device, openDevice } from "../lib/graph/index.ts";
import { describeMachine } from "./machine.ts";
import { report } from "./measure.ts";

type Suite = (device: Device, options: { rounds: number; peers: boolean; only: string }) => Promise<void>;

const suites: Record<string, () => Promise<Suite>> = {
  ops: async () => (await import("./suites/ops/ops.ts")).benchOps,
  inference: async () => (await import("./suites/inference.ts")).benchInference,
  prefill: async () => (await import("./suites/prefill.ts")).benchPrefill,
  embed: async () => (await import("./suites/embed.ts")).benchEmbed,
  speculative: async () => (await import("./suites/speculative.ts")).benchSpeculative,
  logits: async () => (await import("./suites/logits.ts")).benchLogits,
  loop: async () => (await import("./suites/loop.ts")).benchLoop,
  firstTokens: async () => (await import("./suites/first-tokens.ts")).benchFirstTokens,
  load: async () => (await import("./suites/load.ts")).benchLoad,
  tokenizer: async () => (await import("./suites/tokenizer/tokenizer.ts")).benchTokenizer,
  growth: async () => (await import("./suites/growth.ts")).benchGrowth,
  train: async () => (await import("./suites/train.ts")).benchTrain,
  finetune: async () => (await import("./suites/finetune.ts")).benchFinetune,
  tokenizerTrain: async () => (await import("./suites/tokenizer/tokenizer-train.ts")).benchTokenizerTrain,
  rollout: async () => (await import("./suites/rollout.ts")).benchRollout,
  preference: async () => (await import("./suites/preference.ts")).benchPreference,
  memory: async () => (await import("./suites/memory/memory.ts")).benchMemory,
  ranks: async () => (await import("./suites/ranks.ts")).benchRanks,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    rounds: { type: "string", default: "7" },
    only: { type: "string", default: "" }, // part of a case's name; for inference a model, or a model and a type (135M:q8_0)
    threads: { type: "string" },
    peers: { type: "boolean", default: true },
    pairs: { type: "string", default: "15" }, // for compare
    out: { type: "string" },
  },
});

if (positionals[0] === "plot") await (await import("./plot.ts")).plotGrowth(positionals[1]);
else if (positionals[0] === "compare") {
  const [, folder, ...names] = positionals;
  if (!folder) throw new Error("bench compare: expected the folder of another checkout, got none");
  const { pairs, rounds, only, out } = values;
  const numbers = { pairs: Number(pairs), rounds: Number(rounds) };
  await (await import("./compare.ts")).compareCheckouts({ folder, suites: names, only, out, ...numbers });
} else if (positionals[0] === "alternate") {
  const [, folder, control] = positionals;
  if (!folder) throw new Error("bench alternate: expected the folder of another built checkout, got none");
  const { only, out } = values;
  await (await import("./alternate.ts")).alternateBuilds(openDevice(), { folder, control, only, out });
} else {
  const unknown = positionals.find((name) => !suites[name]);
  if (unknown)
    throw new Error(
      `bench: expected plot, compare, alternate or one of ${Object.keys(suites).join(", ")}, got ${unknown}`,
    );
  const device = openDevice({ threads: values.threads === undefined ? undefined : Number(values.threads) });
  report({ machine: describeMachine(device.threads) });
  for (const name of positionals.length ? positionals : Object.keys(suites)) {
    const suite = await suites[name]!();
    await suite(device, { rounds: Number(values.rounds), peers: values.peers, only: values.only });
  }
}
