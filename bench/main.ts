// npm run bench -- [ops|inference|speculative|train] [--rounds N] [--threads N] [--no-peers]: JSON lines, the machine first.
import { parseArgs } from "node:util";
import { openDevice } from "../lib/graph/index.ts";
import { describeMachine } from "./machine.ts";
import { report } from "./measure.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    rounds: { type: "string", default: "7" },
    threads: { type: "string" },
    peers: { type: "boolean", default: true },
  },
});
const device = openDevice({ threads: values.threads === undefined ? undefined : Number(values.threads) });
const options = { rounds: Number(values.rounds), peers: values.peers };
report({ machine: describeMachine(device.threads) });
const suites = positionals.length ? positionals : ["ops", "inference", "speculative", "train"];
for (const suite of suites) {
  if (suite === "ops") await (await import("./ops.ts")).benchOps(device, options);
  else if (suite === "inference") await (await import("./inference.ts")).benchInference(device, options);
  else if (suite === "speculative") await (await import("./speculative.ts")).benchSpeculative(device, options);
  else if (suite === "train") await (await import("./train.ts")).benchTrain(device, options);
  else throw new Error(`bench: expected ops, inference, speculative or train, got ${suite}`);
}
