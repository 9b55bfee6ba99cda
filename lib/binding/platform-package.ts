// Names the npm package that has the addon of a platform. scripts/platforms makes these packages.
import type * as fs from "node:fs";

/** The platforms that heddle ships binaries for. */
export const PLATFORMS: readonly string[] = [
  "linux-x64-gnu",
  "linux-x64-musl",
  "linux-arm64-gnu",
  "linux-arm64-musl",
  "darwin-arm64",
  "darwin-x64",
  "win32-x64",
];

/** The system that a process runs on. `libc` is undefined outside Linux. */
interface Platform {
  readonly platform: string;
  readonly arch: string;
  readonly libc?: "glibc" | "musl" | undefined;
}

/** Returns a name such as `linux-x64-gnu`, whether or not heddle ships a binary for it. */
export function platformName({ platform, arch, libc }: Platform): string {
  const suffix = libc === undefined ? "" : libc === "glibc" ? "-gnu" : "-musl";
  return `${platform}-${arch}${suffix}`;
}

/** Returns the addon's path below the platform's package, and below a checkout that has prebuilt addons. */
export function prebuildPath({ platform, arch, libc }: Platform): string {
  return `prebuilds/${platform}-${arch}/heddle.${libc === undefined ? "" : `${libc}.`}node`;
}

/**
 * Returns the platform of the running program. On Linux, the program's ELF header names the loader, which implies the C library. Node's
 * report has the library too, but takes milliseconds, so it is read only if the header does not name a known loader.
 */
export function currentPlatform({ openSync, readSync, closeSync }: typeof fs): Platform {
  const { platform, arch } = process;
  if (platform !== "linux") return { platform, arch };
  const file = openSync(process.execPath, "r");
  try {
    const header = Buffer.alloc(4096);
    readSync(file, header, 0, header.length, 0);
    return { platform, arch, libc: libcOf(header) ?? libcOfReport() };
  } finally {
    closeSync(file);
  }
}

/**
 * Finds the loader's name in the first bytes of an ELF program, and returns its C library. Undefined if they do not
 * contain the name.
 */
export function libcOf(header: Buffer): "glibc" | "musl" | undefined {
  if (header.includes("/ld-musl-")) return "musl";
  return header.includes("/ld-linux-") ? "glibc" : undefined;
}

function libcOfReport(): "glibc" | "musl" {
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  report.excludeNetwork = true; // DNS look-ups may take seconds
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ? "glibc" : "musl";
}
