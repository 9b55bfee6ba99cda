// Runs steps one after another, each in a separate process group with a time limit, and continues after a failure.
import { spawn } from "node:child_process";
import { appendFileSync, closeSync, existsSync, openSync, readFileSync, statSync } from "node:fs";

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {number} seconds the step's time limit; reduced if less of the total time is left
 * @property {string[]} command
 * @property {Record<string, string>} [env]
 * @property {string} [stdout] a file for stdout, which by default goes to the log, like stderr
 * @property {() => string | undefined} [absent] returns a reason if the step cannot run here. It then counts neither as passed nor as failed
 * @property {string[]} [after] names of steps that must pass first
 * @property {boolean} [optional] whether a failure is reported without counting, because a machine may forbid the tool
 * @property {() => object | undefined} [facts] reads results from the step's output files after the step has run
 */

const KILL_GRACE_SECONDS = 3;

/**
 * @param {Step[]} steps
 * @param {{ log: string, deadline: number, onResult: (result: object) => void }} options `deadline` in milliseconds since the epoch
 */
export async function runSteps(steps, { log, deadline, onResult }) {
  const results = new Map();
  for (const step of steps) {
    const result = await outcome(step, results, { log, deadline });
    results.set(step.name, result);
    onResult(result);
  }
  return [...results.values()];
}

async function outcome(step, results, { log, deadline }) {
  const { name } = step;
  const why = step.absent?.();
  if (why) return { name, status: "absent", why };
  const missing = (step.after ?? []).find((needed) => results.has(needed) && results.get(needed).status !== "passed");
  if (missing) return { name, status: "skipped", why: `${missing} did not pass` };
  const left = (deadline - Date.now()) / 1000 - KILL_GRACE_SECONDS;
  if (left < 1) return { name, status: "skipped", why: "no time left" };
  const limit = Math.min(step.seconds, left);
  appendFileSync(log, `\n=== ${name}: ${step.command.join(" ")}\n`);
  const begin = statSync(log).size;
  const start = Date.now();
  const { code, signal, timedOut, error } = await execute(step, log, limit);
  const seconds = Number(((Date.now() - start) / 1000).toFixed(1));
  let facts;
  try {
    facts = step.facts?.();
  } catch (cause) {
    facts = { unreadable: String(cause) };
  }
  const passed = code === 0 && !timedOut;
  const problem = passed
    ? undefined
    : (error ??
      (timedOut ? `still running after ${Math.round(limit)} s` : `ended with ${signal ?? `exit status ${code}`}`));
  const status = passed ? "passed" : step.optional ? "refused" : "failed";
  return { name, status, seconds, ...(problem && { why: problem, tail: tailOf(log, begin) }), ...(facts && { facts }) };
}

function execute({ command, env, stdout }, log, limit) {
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
    const kill = (signal) => {
      try {
        process.kill(-child.pid, signal);
      } catch {
        // The process group has already ended.
      }
    };
    const soft = setTimeout(() => {
      timedOut = true;
      kill("SIGTERM");
    }, limit * 1000);
    const hard = setTimeout(() => kill("SIGKILL"), (limit + KILL_GRACE_SECONDS - 1) * 1000);
    const settle = (result) => {
      clearTimeout(soft);
      clearTimeout(hard);
      if (child.pid !== undefined) kill("SIGKILL"); // child processes that are still running
      resolve({ timedOut, ...result });
    };
    child.on("error", (cause) => settle({ code: null, error: `could not be started: ${cause.message}` }));
    child.on("exit", (code, signal) => settle({ code, signal }));
  });
}

/** Returns the last lines of a step's output. */
function tailOf(log, begin) {
  if (!existsSync(log)) return [];
  const text = readFileSync(log).subarray(begin).toString("utf8");
  return text
    .trimEnd()
    .split("\n")
    .slice(-25)
    .map((line) => line.slice(0, 300));
}

/** Returns one line per step, the benchmarks, and the last lines of failed steps. */
export function summaryText(summary) {
  const lines = [`${summary.mode}: ${summary.device ?? "no device"}`, ""];
  for (const { name, status, seconds, why, facts } of summary.steps) {
    const time = seconds === undefined ? "" : ` ${seconds} s`;
    const tests = facts?.tests ? ` ${facts.tests.passed} of ${facts.tests.total} tests` : "";
    lines.push(`${status.padEnd(8)} ${name.padEnd(24)}${time}${tests}${why ? ` (${why})` : ""}`);
  }
  const count = (status) => summary.steps.filter((s) => s.status === status).length;
  lines.push(
    "",
    `${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped, ${count("refused")} refused, ${count("absent")} absent`,
  );
  lines.push(...benchLines(summary.steps));
  for (const { name, status, tail, facts } of summary.steps) {
    if (status !== "failed" && status !== "refused") continue;
    lines.push("", `--- ${name}`, ...(facts?.failures ?? []), ...(tail ?? []));
  }
  return `${lines.join("\n")}\n`;
}

/** Returns every result of the benchmarks, compared with PyTorch's result and with the forecast where there is one. */
function benchLines(steps) {
  const others = (step) => new Map(steps.find((s) => s.name === step)?.facts?.results?.map((r) => [r.name, r.value]));
  const [torch, forecast] = [others("torch"), others("forecast")];
  return steps
    .filter((s) => s.name !== "torch" && s.name !== "forecast" && s.facts?.results)
    .flatMap(({ name, facts }) => [
      "",
      `--- ${name}`,
      ...facts.results.map(({ name: what, value, unit, roofline, dataSheet }) => {
        // The measured ceiling is a product or a copy of the same rounds.
        const percent = (part, of) => `, ${Math.round(part * 100)} % of ${of}`;
        const measured = roofline === null ? "" : percent(roofline, "its measured ceiling");
        const share = dataSheet === undefined ? measured : `${measured}${percent(dataSheet, "the data sheet")}`;
        const peer = torch.has(what)
          ? `, ${(value / torch.get(what)).toFixed(2)} x PyTorch's ${torch.get(what).toPrecision(4)}`
          : "";
        const predicted = forecast.has(what)
          ? `, ${(value / forecast.get(what)).toFixed(2)} x the forecast of ${forecast.get(what).toPrecision(4)}`
          : "";
        return `${what}: ${value.toPrecision(4)} ${unit}${share}${predicted}${peer}`;
      }),
    ]);
}
