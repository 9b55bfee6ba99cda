// The platforms that heddle ships binaries for. Everything about one platform that scripts and tests need is in its row.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The newest glibc version that a binary may need. RHEL 8, Debian 10 and Ubuntu 20.04 have this version or a newer one. */
export const GLIBC_CEILING = "2.28";

/** The functions that Node calls. A binary exports nothing else. */
export const ENTRY_POINTS = ["napi_register_module_v1", "node_api_module_get_api_version_v1"];

/** The CUDA architectures of a release. Devices of compute capability 8.6 run code for sm_80. */
export const CUDA_ARCHITECTURES = "80-real;89-real;90a-real;100-real;120-real";

/**
 * The package of a platform is `@heddle/<name>`. `zig` is the compiler's target. `system` and `processor` are CMake's names. `libc` has the values
 * of npm's field, and is set on Linux only. `cuda` is set if the binary has CUDA kernels.
 */
export const targets = [
  {
    name: "linux-x64-gnu",
    os: "linux",
    cpu: "x64",
    libc: "glibc",
    zig: `x86_64-linux-gnu.${GLIBC_CEILING}`,
    system: "Linux",
    processor: "x86_64",
    cuda: true,
  },
  {
    name: "linux-x64-musl",
    os: "linux",
    cpu: "x64",
    libc: "musl",
    zig: "x86_64-linux-musl",
    system: "Linux",
    processor: "x86_64",
  },
  {
    name: "linux-arm64-gnu",
    os: "linux",
    cpu: "arm64",
    libc: "glibc",
    zig: `aarch64-linux-gnu.${GLIBC_CEILING}`,
    system: "Linux",
    processor: "aarch64",
  },
  {
    name: "linux-arm64-musl",
    os: "linux",
    cpu: "arm64",
    libc: "musl",
    zig: "aarch64-linux-musl",
    system: "Linux",
    processor: "aarch64",
  },
  { name: "darwin-arm64", os: "darwin", cpu: "arm64", zig: "aarch64-macos.11.0", system: "Darwin", processor: "arm64" },
  { name: "darwin-x64", os: "darwin", cpu: "x64", zig: "x86_64-macos.11.0", system: "Darwin", processor: "x86_64" },
  { name: "win32-x64", os: "win32", cpu: "x64", zig: "x86_64-windows-gnu", system: "Windows", processor: "AMD64" },
];

/** Returns the target called `name`. Throws an error that lists the names. */
export function findTarget(name) {
  const target = targets.find((row) => row.name === name);
  if (!target) throw new Error(`unknown target ${name}: expected one of ${targets.map((row) => row.name).join(", ")}`);
  return target;
}

/** The binary's path below a package or a checkout, in the layout of prebuildify and node-gyp-build. */
export function binaryPath({ os, cpu, libc }) {
  return join("prebuilds", `${os}-${cpu}`, libc ? `heddle.${libc}.node` : "heddle.node");
}

/** The folder that a target is built in. */
export function buildFolder({ name }) {
  return join(root, ".cmake", name);
}
