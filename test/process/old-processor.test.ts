// The addon loads on old processors: its initialization must not use newer instructions.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const emulator = "qemu-x86_64";
const installed =
  process.platform === "linux" && process.arch === "x64" && spawnSync(emulator, ["--version"]).status === 0;
if (!installed)
  console.warn(`${emulator} (Debian's qemu-user) is not installed: the addon is not loaded on old processors`);
const binary = process.env.HEDDLE_BINARY ?? fileURLToPath(new URL("../../build/Release/heddle.node", import.meta.url));
const script = "const m = { exports: {} }; process.dlopen(m, process.argv[1]); console.log(m.exports.cpuInfo().isa);";

test.skipIf(!installed).each([
  ["Nehalem", "baseline"],
  ["SandyBridge", "baseline"],
  ["Haswell", "avx2"],
])("a processor of type %s loads the addon and selects %s", (processor, isa) => {
  const { HEDDLE_ISA: _, ...env } = process.env;
  const args = ["-cpu", processor, process.execPath, "--jitless", "-e", script, binary];
  const { status, signal, stdout } = spawnSync(emulator, args, { encoding: "utf8", env });
  expect({ status, signal, isa: stdout.trim() }).toEqual({ status: 0, signal: null, isa });
});
