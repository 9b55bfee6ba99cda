// The peak memory of a measured process.
import { readFileSync } from "node:fs";

/** Returns the largest resident set of this process in bytes. On Linux, maxRSS includes the parent's memory at the fork; VmHWM does not. */
export function peakBytes() {
  const own =
    process.platform === "linux" && /VmHWM:\s*(\d+) kB/.exec(readFileSync("/proc/self/status", "latin1"))?.[1];
  return 1024 * (own ? Number(own) : process.resourceUsage().maxRSS);
}
