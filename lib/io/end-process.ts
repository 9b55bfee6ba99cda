import { binding } from "../binding/index.ts";

/**
 * Ends this process at once. `process.exit` may wait forever for a thread in a library call that never returns, such as NCCL's wait for a lost
 * rank. Signals do not end the first process of a container.
 */
export function endProcess(code: number): void {
  binding.endProcess(code);
}
