// Types into a program that runs in a terminal.
import { spawn } from "node:child_process";

export interface Step {
  /** Wait for this text in the output since the previous step. */
  readonly after: RegExp;
  /** The text to type then. */
  readonly type: string;
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** Runs a command in a terminal that util-linux's `script` makes. Rejects after `timeout` milliseconds. */
export function inTerminal(
  command: readonly string[],
  options: { cwd: string; env: Record<string, string>; timeout: number },
  steps: readonly Step[],
): Promise<{ status: number | null; output: string }> {
  const { cwd, timeout } = options;
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, TERM: "xterm", ...options.env };
  const program = spawn("script", ["-qefc", command.map(quoted).join(" "), "/dev/null"], { cwd, env });
  const left = [...steps];
  let output = "";
  let seen = 0;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      program.kill("SIGKILL");
      reject(new Error(`expected ${left[0]?.after ?? "the end"}, got ${JSON.stringify(output.slice(seen))}`));
    }, timeout);
    program.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (!left[0]?.after.test(output.slice(seen))) return;
      seen = output.length;
      program.stdin.write(left.shift()!.type);
    });
    program.on("error", reject);
    program.on("close", (status) => {
      clearTimeout(timer);
      resolve({ status, output });
    });
  });
}
