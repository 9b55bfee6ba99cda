// Runs the built command in a separate process. `npm test` builds it first.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const bin = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Starts the built command. */
export function startCli(args: readonly string[], cwd?: string): ChildProcessWithoutNullStreams {
  if (!existsSync(bin)) throw new Error("dist/cli/main.js: the built command is missing: run `npm run build:js`");
  return spawn(process.execPath, [bin, ...args], { cwd });
}

/** Runs the built command to its end. */
export function runCli(args: readonly string[], { cwd, stdin = "" }: { cwd?: string; stdin?: string } = {}) {
  const child = startCli(args, cwd);
  const result: CliResult = { code: null, stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    result.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    result.stderr += text;
  });
  // A command that does not read stdin may exit before this write.
  child.stdin.on("error", () => {}).end(stdin);
  return new Promise<CliResult>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ ...result, code }));
  });
}
