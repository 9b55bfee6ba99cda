// Measures training steps on several CPU ranks with the same global batch: on this machine, and over links with limited bandwidth.
// HEDDLE_BENCH_NETWORKS=1 also measures the links. It needs root, Linux, ip, tc, iperf3, and MPICH's mpirun.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Device } from "../../lib/graph/index.ts";
import { median, report } from "../measure.ts";

const script = fileURLToPath(new URL("../peers/ranks_heddle.mjs", import.meta.url));
/** Micro-batches per step of all ranks together. */
const MICRO_BATCHES = 4;
interface Case {
  sharding: string;
  overlap?: boolean;
}

/** Values of `sharding`, and whether ranks sum their gradients while the backward pass goes on. With divided gradients they always do. */
const CASES: readonly Case[] = [
  { sharding: "none" },
  { sharding: "none", overlap: true },
  { sharding: "optimizer" },
  { sharding: "optimizer", overlap: true },
  { sharding: "gradients" },
  { sharding: "parameters" },
];
/** Number of times that each case runs. */
const TURNS = 3;
/** Limits of the links, as `tc` writes them. */
const LINKS = ["10gbit", "1gbit"];

interface Named extends Case {
  name: string;
}

interface Outcome {
  parameters: number;
  steps: { seconds: number; waited: number }[];
  peakBytes: number[];
}

interface Measured extends Named, Outcome {
  /** Median seconds of a step in each turn. */
  turns: number[];
}

/** A link between ranks, each of which is in a network namespace with one interface. */
interface Network {
  rate: string;
  /** Throughput that iperf3 reaches with one stream, in bit/s. */
  iperfBitsPerSecond: number;
}

export async function benchRanks(_device: Device, { rounds = 7, only = "" } = {}): Promise<void> {
  if (!existsSync(fileURLToPath(new URL("../../dist/index.js", import.meta.url))))
    throw new Error("bench ranks: dist/index.js is missing: run `npm run build:js`");
  const alone = inTurn([{ sharding: "none", name: "train step, 1 ranks, sharding none" }], 1, rounds)[0]!;
  if (alone.name.includes(only)) report({ name: alone.name, ...figures(alone, alone, 1) });
  const networks: (string | undefined)[] = [undefined, ...(process.env.HEDDLE_BENCH_NETWORKS ? LINKS : [])];
  for (const rate of networks)
    withNetwork(rate, (network) => {
      for (const ranks of [2, 4]) {
        const link = rate ? `, ${rate} links` : "";
        const named = CASES.map((one) => {
          const overlapped = one.overlap ? ", overlapped" : "";
          return { ...one, name: `train step, ${ranks} ranks, sharding ${one.sharding}${overlapped}${link}` };
        }).filter(({ name }) => name.includes(only));
        const found = inTurn(named, ranks, rounds, network);
        for (const one of found) {
          const after = one.overlap && found.find(({ sharding, overlap }) => sharding === one.sharding && !overlap);
          report({
            name: one.name,
            ...(network && { iperfGbitPerSecond: rounded(network.iperfBitsPerSecond / 1e9) }),
            ...figures(one, alone, ranks),
            /** Median over the turns: time of a step compared with sums after the backward pass. */
            ...(after && { ratio: rounded(median(one.turns.map((seconds, i) => seconds / after.turns[i]!))) }),
          });
        }
      }
    });
}

/** Runs each case several times, in turn with the others, so that other work of the machine affects all of them. */
function inTurn(cases: readonly Named[], ranks: number, rounds: number, network?: Network): Measured[] {
  const found = cases.map((one): Measured => ({ ...one, parameters: 0, steps: [], peakBytes: [], turns: [] }));
  for (let turn = 0; turn < TURNS; turn++)
    for (const one of found) {
      const { parameters, steps, peakBytes } = run(ranks, one, Math.ceil(rounds / TURNS), network);
      one.parameters = parameters;
      one.peakBytes = peakBytes.map((bytes, rank) => Math.max(bytes, one.peakBytes[rank] ?? 0));
      one.steps.push(...steps);
      one.turns.push(median(steps.map((step) => step.seconds)));
    }
  return found;
}

function figures({ parameters, steps, peakBytes }: Outcome, alone: Outcome, ranks: number) {
  const seconds = median(steps.map((step) => step.seconds));
  return {
    millionParameters: rounded(parameters / 1e6),
    milliseconds: Math.round(1000 * seconds),
    /** Compared with one rank, which computes all micro-batches. */
    speedup: rounded(median(alone.steps.map((step) => step.seconds)) / seconds),
    /** Share of the step in which rank 0 exchanges data, or waits for other ranks. Exchange behind computation is not in it. */
    communication: ranks === 1 ? 0 : rounded(median(steps.map((step) => step.waited / step.seconds))),
    peakMegabytes: peakBytes.map((bytes) => Math.round(bytes / 1e6)),
  };
}

const rounded = (value: number) => Math.round(value * 100) / 100;

function run(ranks: number, { sharding, overlap }: Case, rounds: number, network?: Network): Outcome {
  const rank = [process.execPath, script, sharding, String(MICRO_BATCHES / ranks), String(rounds + 2)];
  const command = network
    ? ["mpirun.mpich", "-n", String(ranks), "sh", "-c", `exec ip netns exec ${NAMESPACE}$PMI_RANK "$@"`, "sh", ...rank]
    : ranks === 1
      ? rank
      : ["mpirun.openmpi", "-n", String(ranks), "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", ...rank];
  // Ranks on one machine would use shared memory, and look for InfiniBand.
  const tcp = { MPIR_CVAR_NOLOCAL: "1", UCX_TLS: "tcp,self", UCX_NET_DEVICES: "eth0" };
  const { status, stdout, stderr } = spawnSync(command[0]!, command.slice(1), {
    encoding: "utf8",
    // Namespaces have the same host name, so say whether to overlap.
    env: { ...process.env, ...(network && tcp), HEDDLE_OVERLAP: overlap ? "1" : "0" },
  });
  if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  return JSON.parse(stdout);
}

const NAMESPACE = "heddle-rank-";
const BRIDGE = "heddle-bench";

/** Runs `work` with namespaces that a bridge connects. Each interface sends at most `rate`. */
function withNetwork(rate: string | undefined, work: (network: Network | undefined) => void): void {
  if (rate === undefined) {
    work(undefined);
    return;
  }
  const sh = (line: string) => execFileSync("sh", ["-c", line], { encoding: "utf8" });
  const ranks = [0, 1, 2, 3];
  try {
    sh(`ip link add ${BRIDGE} type bridge && ip link set ${BRIDGE} up`);
    for (const rank of ranks) {
      const [space, peer] = [`${NAMESPACE}${rank}`, `hr${rank}`];
      sh(
        `ip netns add ${space} && ip link add ${peer} type veth peer name eth0 netns ${space} && ip link set ${peer} master ${BRIDGE} up`,
      );
      sh(
        `ip netns exec ${space} sh -c 'ip addr add 10.213.7.${rank + 1}/24 dev eth0; ip link set eth0 up; ip link set lo up'`,
      );
      sh(`ip netns exec ${space} tc qdisc add dev eth0 root tbf rate ${rate} burst 256kb latency 20ms`);
    }
    const server = `ip netns exec ${NAMESPACE}1 iperf3 --server --one-off --daemon`;
    const measured = JSON.parse(
      sh(`${server}; sleep 0.5; ip netns exec ${NAMESPACE}0 iperf3 -c 10.213.7.2 -t 3 --json`),
    );
    work({ rate, iperfBitsPerSecond: measured.end.sum_received.bits_per_second });
  } finally {
    for (const rank of ranks) spawnSync("ip", ["netns", "del", `${NAMESPACE}${rank}`]);
    spawnSync("ip", ["link", "del", BRIDGE]);
  }
}
