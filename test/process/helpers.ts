import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** The built package, since these tests run whole processes. `npm test` builds it first. */
export const entry = pathToFileURL(`${root}dist/index.js`).href;
export const graph = pathToFileURL(`${root}dist/graph/index.js`).href;
export const cli = `${root}dist/cli/main.js`;
if (!existsSync(cli)) throw new Error("dist/cli/main.js: the built command is missing: run `npm run build:js`");

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Runs node to completion. `onLine` receives each line of stdout and may kill the process. */
export function node(
  args: string[],
  onLine?: (line: string, kill: (signal: NodeJS.Signals) => void) => void,
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    let seen = 0;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      for (let end = stdout.indexOf("\n", seen); end >= 0; end = stdout.indexOf("\n", seen)) {
        onLine?.(stdout.slice(seen, end), (signal) => child.kill(signal));
        seen = end + 1;
      }
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
