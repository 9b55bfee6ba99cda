import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism, freemem, totalmem } from "node:os";
import { addonPath } from "../../binding/load.ts";
import { HeddleError } from "../../core/errors.ts";
import { defineCommand } from "../command.ts";
import { section, size } from "../terminal/info-screen.ts";

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
  const libc = libcOf();
  const addon = tryAddon();
  const machine = {
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    libc,
    cpus: availableParallelism(),
    memory: { total: totalmem(), free: freemem(), limit: memoryLimit() },
    addon,
  };
  if (addon.problem !== undefined) {
    // Without a file, the problem itself says what to do.
    const advice = addon.path === undefined ? undefined : adviceFor(addon.problem);
    return { ...machine, problem: addon.problem, advice };
  }
  // Import it only after the trial: an addon that crashes would end this process too.
  const { deviceInfo } = await import("../../graph/index.ts");
  const { cpu, cuda, version } = deviceInfo();
  return { ...machine, version, instructionSet: cpu.isa, threads: cpu.threads, cuda, problem: undefined };
}

/** Returns the addon's path, and the problem if it does not load. A child process loads it, because loading may crash. */
function tryAddon(): { path?: string; problem?: string } {
  let path: string;
  try {
    path = addonPath();
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    return { problem: error.message.replace(/^heddle: /, "") };
  }
  if (!existsSync(path)) return { path, problem: `${path}: expected the native addon, found no file` };
  const trial = "process.dlopen({ exports: {} }, process.argv[1])";
  const { status, signal, stderr } = spawnSync(process.execPath, ["-e", trial, path], { encoding: "utf8" });
  if (status === 0) return { path };
  const reason = /^Error: (.*)$/m.exec(stderr)?.[1];
  return { path, problem: reason ?? `the native addon ended the process with ${signal ?? `exit code ${status}`}` };
}

/** Returns the C library of a Linux system. */
function libcOf(): string | undefined {
  const { platform, report } = process;
  if (platform !== "linux" || !report) return undefined;
  (report as { excludeNetwork?: boolean }).excludeNetwork = true; // DNS look-ups may take seconds
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : "musl";
}

/** Returns the memory limit of a container or a service in bytes, if there is one. */
function memoryLimit(): number | undefined {
  const limit = process.constrainedMemory?.();
  return limit !== undefined && limit > 0 && limit < totalmem() ? limit : undefined;
}

function adviceFor(problem: string): string {
  const needed = /GLIBC_([\d.]+)' not found/.exec(problem)?.[1];
  const rebuild = "install cmake and a C++17 compiler and run `npm rebuild heddle --build-from-source`";
  if (needed !== undefined) return `the prebuilt addon needs glibc ${needed}: use a newer system, or ${rebuild}`;
  return rebuild;
}

function screen(found: Findings): string {
  const { memory, addon, problem } = found;
  const facts = section("Machine", [
    ["node", `${found.node} on ${found.platform}`],
    ["libc", found.libc],
    ["cpus", String(found.cpus)],
    ["memory", `${size(memory.total)}, ${size(memory.free)} free`],
    ["limit", memory.limit === undefined ? undefined : `${size(memory.limit)} of memory for this process`],
  ]);
  const rest =
    "cuda" in found
      ? section("heddle", [
          ["version", found.version],
          ["addon", addon.path],
          ["cpu", `${found.instructionSet}, ${found.threads} threads`],
          ["cuda", cudaText(found.cuda)],
        ])
      : section("heddle", [
          ["addon", addon.path],
          ["problem", problem],
          ["to do", found.advice],
        ]);
  const verdict = problem === undefined ? "heddle can run on this machine." : "heddle cannot run on this machine.";
  return `${facts}\n\n${rest}\n\n${verdict}`;
}

function cudaText({
  built,
  devices,
  problem,
}: {
  built: boolean;
  devices: { name: string; driver: string }[];
  problem?: string;
}) {
  if (!built) return "this build has no CUDA kernels";
  if (problem !== undefined) return problem;
  if (devices.length === 0) return "no device";
  return devices.map(({ name, driver }) => `${name} (driver for CUDA ${driver})`).join(", ");
}
