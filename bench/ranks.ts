// Measures training steps on several CPU ranks with the same global batch: on this machine, and over links with limited bandwidth.
// HEDDLE_BENCH_NETWORKS=1 also measures the links. It needs root, Linux, ip, tc, iperf3, and MPICH's mpirun.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Device } from "../lib/graph/index.ts";
import { median, report } from "./measure.ts";

const script = fileURLToPath(new URL("peers/ranks_heddle.mjs", import.meta.url));
/** Micro-batches per step of all ranks together. */
const MICRO_BATCHES = 4;
const SHARDINGS = ["none", "optimizer", "gradients", "parameters"];
/** Limits of the links, as `tc` writes them. */
const LINKS = ["10gbit", "1gbit"];

interface Outcome {
  parameters: number;
  steps: { seconds: number; waited: number }[];
  peakBytes: number[];
}

/** A link between ranks, each of which is in a network namespace with one interface. */
interface Network {
  rate: string;
  /** Throughput that iperf3 reaches with one stream, in bit/s. */
  iperfBitsPerSecond: number;
}

export async function benchRanks(_device: Device, { rounds = 7, only = "" } = {}): Promise<void> {
  if (!existsSync(fileURLToPath(new URL("../dist/index.js", import.meta.url))))
    throw new Error("bench ranks: dist/index.js is missing: run `npm run build:js`");
  const alone = run(1, "none", rounds);
  const networks: (string | undefined)[] = [undefined, ...(process.env.HEDDLE_BENCH_NETWORKS ? LINKS : [])];
  for (const rate of networks)
    withNetwork(rate, (network) => {
      for (const ranks of [1, 2, 4])
        for (const sharding of ranks === 1 ? ["none"] : SHARDINGS) {
          const name = `train step, ${ranks} ranks, sharding ${sharding}${rate ? `, ${rate} links` : ""}`;
          if (!name.includes(only) || (ranks === 1 && rate)) continue;
          const found = ranks === 1 ? alone : run(ranks, sharding, rounds, network);
          report({
            name,
            ...(network && { iperfGbitPerSecond: rounded(network.iperfBitsPerSecond / 1e9) }),
            ...figures(found, alone, ranks),
          });
        }
    });
}

function figures({ parameters, steps, peakBytes }: Outcome, alone: Outcome, ranks: number) {
  const seconds = median(steps.map((step) => step.seconds));
  return {
    millionParameters: rounded(parameters / 1e6),
    milliseconds: Math.round(1000 * seconds),
    /** Compared with one rank, which computes all micro-batches. */
    speedup: rounded(median(alone.steps.map((step) => step.seconds)) / seconds),
    /** Share of the step in which rank 0 waits for data of other ranks. Sums that run during the computation are not in it. */
    waiting: ranks === 1 ? 0 : rounded(median(steps.map((step) => step.waited / step.seconds))),
    peakMegabytes: peakBytes.map((bytes) => Math.round(bytes / 1e6)),
  };
}

const rounded = (value: number) => Math.round(value * 100) / 100;

function run(ranks: number, sharding: string, rounds: number, network?: Network): Outcome {
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
    env: { ...process.env, ...(network && tcp) },
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
