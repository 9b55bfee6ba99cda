import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism, freemem, totalmem } from "node:os";
import { addonPath } from "../../binding/load.ts";
import { formatBytes } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import { defineCommand } from "../command.ts";
import { type BinaryNeeds, binaryNeeds } from "../machine/binary-needs.ts";
import { loadAdvice } from "../machine/load-advice.ts";
import { memoryLimit, neededDriver, nvidiaDriver, processorLimit, systemLibc } from "../machine/system.ts";
import { section } from "../terminal/info-screen.ts";

export const command = defineCommand({
  about: "Checks whether heddle can run on this machine, and says what to do if it cannot. Exits with 1 in that case.",
  options: {},
  without: { model: "no model", device: "no device", threads: "no threads", profile: "no profile" },
  async run({ out }) {
    const found = await examine();
    if (out.json) out.object(found);
    else out.line(screen(found));
    if (found.problem !== undefined) process.exitCode = 1;
  },
});

type Findings = Awaited<ReturnType<typeof examine>>;

async function examine() {
  const libc = systemLibc();
  const addon = tryAddon();
  const machine = {
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    libc,
    cpus: { available: availableParallelism(), limit: processorLimit() },
    memory: { total: totalmem(), free: freemem(), limit: memoryLimit() },
    driver: nvidiaDriver(),
    addon,
  };
  if (addon.problem !== undefined) {
    // If no addon was found, the text of the problem contains the advice.
    const advice = addon.path === undefined ? undefined : loadAdvice(addon.problem, addon.needs ?? {}, libc);
    return { ...machine, problem: addon.problem, advice };
  }
  // Load the addon in this process only after the trial, because an addon that crashes would end this process too.
  const { deviceInfo } = await import("../../graph/index.ts");
  const { cpu, cuda, version } = deviceInfo();
  return { ...machine, version, instructionSet: cpu.isa, threads: cpu.threads, cuda, problem: undefined };
}

/** Returns the addon's path, and the problem if it does not load. A child process loads it, because loading may crash. */
function tryAddon(): { path?: string; needs?: BinaryNeeds; problem?: string } {
  let path: string;
  try {
    path = addonPath();
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    return { problem: error.message.replace(/^heddle: /, "") };
  }
  if (!existsSync(path)) return { path, problem: `${path}: expected the native addon, found no file` };
  const needs = binaryNeeds(path);
  const trial = "process.dlopen({ exports: {} }, process.argv[1])";
  const { status, signal, stderr } = spawnSync(process.execPath, ["-e", trial, path], { encoding: "utf8" });
  if (status === 0) return { path, needs };
  const reason = /^Error: (.*)$/m.exec(stderr)?.[1];
  return {
    path,
    needs,
    problem: reason ?? `the native addon ended the process with ${signal ?? `exit code ${status}`}`,
  };
}

function screen(found: Findings): string {
  const { memory, addon, problem } = found;
  const facts = section("Machine", [
    ["node", `${found.node} on ${found.platform}`],
    ["libc", found.libc],
    [
      "cpus",
      `${found.cpus.available}${found.cpus.limit === undefined ? "" : `, a container limits them to ${found.cpus.limit}`}`,
    ],
    ["memory", `${formatBytes(memory.total)}, ${formatBytes(memory.free)} free`],
    ["limit", memory.limit === undefined ? undefined : `${formatBytes(memory.limit)} of memory for this process`],
    ["driver", found.driver === undefined ? "no NVIDIA driver" : `NVIDIA ${found.driver}`],
  ]);
  const rest =
    "cuda" in found
      ? section("heddle", [
          ["version", found.version],
          ["addon", addon.path],
          ["needs", needsText(addon.needs)],
          ["cpu", `${found.instructionSet}, ${found.threads} threads`],
          ["cuda", cudaText(found.cuda)],
        ])
      : section("heddle", [
          ["addon", addon.path],
          ["needs", needsText(addon.needs)],
          ["problem", problem],
          ["to do", found.advice],
        ]);
  const verdict = problem === undefined ? "heddle can run on this machine." : "heddle cannot run on this machine.";
  return `${facts}\n\n${rest}\n\n${verdict}`;
}

function needsText({ libc, glibc, glibcxx }: BinaryNeeds = {}): string | undefined {
  if (libc !== "glibc") return libc;
  return `glibc ${glibc}${glibcxx === undefined ? "" : `, GLIBCXX_${glibcxx}`}`;
}

type Cuda = { built: boolean; toolkit?: string; devices: { name: string; driver: string }[]; problem?: string };

function cudaText({ built, toolkit, devices, problem }: Cuda): string {
  if (!built) return "this build has no CUDA kernels";
  const needed = neededDriver(toolkit);
  const need = `the kernels were built with CUDA ${toolkit}${needed === undefined ? "" : ` and need driver ${needed} or newer`}`;
  if (problem !== undefined) return `${problem}; ${need}`;
  if (devices.length === 0) return `no device; ${need}`;
  return `${devices.map(({ name, driver }) => `${name} (driver for CUDA ${driver})`).join(", ")}; ${need}`;
}
