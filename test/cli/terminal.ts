// Runs commands in a pseudo-terminal, which `script` of util-linux makes.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { bin } from "./run.ts";

/** Whether pseudo-terminals are available. Only Linux's `script` has the options used here. */
export const hasTerminal = process.platform === "linux" && hasProgram("script", "terminals are not tested");

/** Whether a program is installed in /usr/bin. If it is not, warns with `without`, a text about the tests that are skipped. */
export function hasProgram(name: string, without: string): boolean {
  const has = existsSync(`/usr/bin/${name}`);
  if (!has) console.warn(`/usr/bin/${name} is missing: ${without}`);
  return has;
}

export interface Terminal {
  /** All output so far, with its escape codes. */
  readonly output: string;
  /** Sends keys to the command. */
  type(keys: string): void;
  /** Waits until new output holds a text, and returns the output since the last wait. */
  until(text: string | RegExp): Promise<string>;
  /** Resolves with the command's exit code when it ends. */
  closed: Promise<number | null>;
  kill(): void;
}

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;

/** Starts the built command in a terminal. */
export function inTerminal(args: readonly string[], given: { cwd: string; env?: NodeJS.ProcessEnv }): Terminal {
  if (!existsSync(bin)) throw new Error("dist/cli/main.js: the built command is missing: run `npm run build`");
  return openTerminal([process.execPath, bin, ...args].map(quoted).join(" "), given);
}

/** Starts a line of `sh` in a terminal of 80 columns. */
export function openTerminal(line: string, { cwd, env = {} }: { cwd: string; env?: NodeJS.ProcessEnv }): Terminal {
  // Each of these variables would set or turn off colors.
  const { NO_COLOR: _, FORCE_COLOR: __, CI: ___, ...rest } = process.env;
  const child = spawn("script", ["-qfec", `stty cols 80 rows 24; exec ${line}`, "/dev/null"], {
    cwd,
    env: { ...rest, TERM: "xterm-256color", ...env },
  });
  let output = "";
  let read = 0;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stdin.on("error", () => {});
  return {
    get output() {
      return output;
    },
    type: (keys) => void child.stdin.write(keys),
    async until(text) {
      for (let i = 0; i < 2400; i++) {
        const fresh = output.slice(read);
        const at = typeof text === "string" ? fresh.indexOf(text) : fresh.search(text);
        if (at >= 0) {
          read += at + (typeof text === "string" ? text.length : 1);
          return fresh;
        }
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      throw new Error(`the terminal did not show ${text}, but ${JSON.stringify(output.slice(read))}`);
    },
    closed: new Promise((resolve) => child.on("close", resolve)),
    kill: () => void child.kill("SIGKILL"),
  };
}
