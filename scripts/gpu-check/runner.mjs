// Runs steps one after another, each in a separate process group with a time limit, and continues after a failure.
import { spawn } from "node:child_process";
import { appendFileSync, closeSync, existsSync, openSync, readFileSync, statSync } from "node:fs";

/**
 * The outcome of a step. "skipped": it cannot run here, or a step that it needs did not pass. "no time": the phase's time did not suffice for
 * it, so that nothing is known about it.
 * @typedef {"passed" | "failed" | "skipped" | "no time"} Status
 */

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {number} seconds the step's time limit. A step that reaches it has failed
 * @property {number} [least] the step does not start if less of the phase's time is left, in seconds. Default 2
 * @property {string[]} command
 * @property {Record<string, string>} [env]
 * @property {() => void} [prepare] runs before the command
 * @property {string} [stdout] a file for stdout, which by default goes to the log, like stderr
 * @property {() => string | undefined} [absent] returns the reason if the step cannot run here
 * @property {string[]} [after] names of steps that must pass first
 * @property {boolean} [extra] whether only a comparison depends on the step. Its failure counts as skipped, and the exit code ignores that
 * @property {(end: { code: number | null, timedOut: boolean, output: string }) => { status: Status, why?: string } | undefined} [judge]
 * decides the status of a tool that reports findings. Undefined leaves the decision to the exit status
 * @property {() => object | undefined} [facts] reads results from the step's output files after the step has run
 */

const KILL_GRACE_SECONDS = 3;

/** Sends a signal to the process group of a step. */
function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // The process group has already ended.
  }
}

/**
 * Runs the steps in order. Returns their results.
 * @param {Step[]} steps
 * @param {{ log: string, deadline: number, onResult: (result: object) => void, earlier?: object[], kill?: typeof signalGroup }} options
 * `deadline` in milliseconds since the epoch. `earlier` has results of steps that ran before these. Tests replace `kill`
 */
export async function runSteps(steps, { log, deadline, onResult, earlier = [], kill = signalGroup }) {
  const results = new Map(earlier.map((result) => [result.name, result]));
  const own = [];
  for (const step of steps) {
    const result = { ...(await outcome(step, results, { log, deadline, kill })), ...(step.extra && { extra: true }) };
    results.set(step.name, result);
    own.push(result);
    onResult(result);
  }
  return own;
}

async function outcome(step, results, { log, deadline, kill }) {
  const { name } = step;
  const why = step.absent?.();
  if (why) return { name, status: "skipped", why };
  const missing = (step.after ?? []).find((needed) => results.has(needed) && results.get(needed).status !== "passed");
  if (missing) {
    const status = results.get(missing).status === "no time" ? "no time" : "skipped";
    return { name, status, why: `${missing} did not pass` };
  }
  const left = (deadline - Date.now()) / 1000 - KILL_GRACE_SECONDS;
  const least = step.least ?? 2;
  if (left < least)
    return {
      name,
      status: "no time",
      why: `needs ${least} s, ${Math.max(0, Math.floor(left))} s of the phase are left`,
    };
  const limit = Math.min(step.seconds, left);
  try {
    step.prepare?.();
  } catch (cause) {
    return { name, status: "failed", why: `could not be prepared: ${cause.message}` };
  }
  appendFileSync(log, `\n=== ${name}: ${step.command.join(" ")}\n`);
  const begin = statSync(log).size;
  const start = Date.now();
  const end = await execute(step, log, limit, kill);
  const seconds = Number(((Date.now() - start) / 1000).toFixed(1));
  let facts;
  try {
    facts = step.facts?.();
  } catch (cause) {
    facts = { unreadable: String(cause) };
  }
  const output = existsSync(log) ? readFileSync(log).subarray(begin).toString("utf8") : "";
  const judged = end.isStuck ? undefined : step.judge?.({ ...end, output });
  const { status, why: problem } = judged ?? statusOf(step, end, limit);
  const tail = status === "passed" ? undefined : tailOf(output);
  return { name, status, seconds, ...(problem && { why: problem }), ...(tail && { tail }), ...(facts && { facts }) };
}

function statusOf(step, { code, signal, timedOut, isStuck, error }, limit) {
  if (code === 0 && !timedOut) return { status: "passed" };
  if (isStuck)
    return { status: step.extra ? "skipped" : "failed", why: "does not end after SIGKILL: it may wait in the driver" };
  const why =
    error ??
    (timedOut ? `still running after ${Math.round(limit)} s` : `ended with ${signal ?? `exit status ${code}`}`);
  // A step that the phase cut short could have passed.
  if (timedOut && limit < step.seconds)
    return { status: "no time", why: `${why}, of ${step.seconds} s that it may take` };
  return { status: step.extra ? "skipped" : "failed", why };
}

function execute({ command, env, stdout }, log, limit, kill) {
  return new Promise((resolve) => {
    const file = openSync(log, "a");
    const own = stdout === undefined ? file : openSync(stdout, "w");
    const [program, ...args] = command;
    // A separate process group, so that all processes of a step end with it.
    const child = spawn(program, args, {
      detached: true,
      stdio: ["ignore", own, file],
      env: { ...process.env, ...env },
    });
    closeSync(file);
    if (own !== file) closeSync(own);
    let timedOut = false;
    const soft = setTimeout(() => {
      timedOut = true;
      kill(child.pid, "SIGTERM");
    }, limit * 1000);
    const hard = setTimeout(() => kill(child.pid, "SIGKILL"), (limit + KILL_GRACE_SECONDS - 1) * 1000);
    // A process that waits in the driver does not end. The other steps must not wait for it.
    const giveUp = setTimeout(
      () => {
        child.removeAllListeners("exit");
        settle({ code: null, isStuck: true });
      },
      (limit + 2 * KILL_GRACE_SECONDS) * 1000,
    );
    const settle = (result) => {
      for (const timer of [soft, hard, giveUp]) clearTimeout(timer);
      if (child.pid !== undefined) kill(child.pid, "SIGKILL"); // child processes that are still running
      resolve({ timedOut, ...result });
    };
    child.on("error", (cause) => settle({ code: null, error: `could not be started: ${cause.message}` }));
    child.on("exit", (code, signal) => settle({ code, signal }));
  });
}

/** Returns the last lines of a step's output. */
function tailOf(output) {
  return output
    .trimEnd()
    .split("\n")
    .slice(-25)
    .map((line) => line.slice(0, 300));
}

/**
 * Returns the exit code of a check: 1 if a step failed, otherwise 4 if the time did not suffice for one, otherwise 3 if one was skipped,
 * otherwise 0. Extra steps that were skipped do not count.
 */
export function exitCode(results) {
  if (results.some(({ status }) => status === "failed")) return 1;
  if (results.some(({ status }) => status === "no time")) return 4;
  return results.some(({ status, extra }) => status === "skipped" && !extra) ? 3 : 0;
}
