// The texts of a check: the table for a screen, the full summary, and the lines of JSON for bench/results.

export const COLUMNS = 100;
export const LINES = 50;
const STATUSES = ["passed", "failed", "skipped", "no time"];
/** Steps whose results others are compared with. */
const PEERS = ["torch", "forecast"];

const clip = (text, width) => (text.length > width ? `${text.slice(0, width - 1)}…` : text);
const seconds = (n) => (n === undefined ? "" : ` ${n < 10 ? n.toFixed(1) : Math.round(n)} s`);
const digits = (n) => (n >= 1000 ? n.toFixed(0) : n.toPrecision(3));

/** Returns the machine in one line. */
function machineLine({ mode, machine }) {
  const { gpu, computeCapability, driver, cuda, commit } = machine;
  const known = [gpu, computeCapability && `compute capability ${computeCapability}`, driver && `driver ${driver}`];
  return [...known, `CUDA ${cuda}`, `commit ${commit}`, ...(mode === "gpu" ? [] : [mode])].filter(Boolean).join(", ");
}

function counts(steps) {
  return STATUSES.map((status) => `${steps.filter((s) => s.status === status).length} ${status}`).join(", ");
}

/** Returns every measured case with the results of the same name in the forecast and in PyTorch. */
export function comparisons({ phases }) {
  const steps = phases.bench?.steps ?? [];
  const others = (step) => new Map(steps.find((s) => s.name === step)?.facts?.results?.map((r) => [r.name, r.value]));
  const [torch, forecast] = PEERS.map(others);
  return steps
    .filter(({ name, facts }) => !PEERS.includes(name) && facts?.results)
    .flatMap(({ name: step, facts }) =>
      facts.results.map((result) => ({
        ...result,
        // The same cases under another precision are not those of the peers.
        ...(step === "bench-tf32"
          ? { name: `${result.name}, tf32 allowed` }
          : { forecast: forecast.get(result.name), torch: torch.get(result.name) }),
      })),
    );
}

const HEADS = ["measured", "ceiling", "sheet", "forecast", "ratio", "torch", "ratio"];
const WIDTHS = [14, 7, 5, 8, 5, 8, 5];

/** Returns a case's cells, in the larger unit from 1000 on. */
function cells({ value, unit, roofline, dataSheet, forecast, torch }) {
  const [scale, prefix] = value >= 1000 && unit.startsWith("G") ? [1e-3, "T"] : [1, unit[0]];
  const percent = (share) => (share === null || share === undefined ? "" : `${Math.round(share * 100)} %`);
  const peer = (of) => (of === undefined ? ["", ""] : [digits(of * scale), (value / of).toFixed(2)]);
  const measured = `${digits(value * scale)} ${prefix}${unit.slice(1)}`;
  return [measured, percent(roofline), percent(dataSheet), ...peer(forecast), ...peer(torch)];
}

const row = (name, values) => {
  const right = values.map((value, i) => value.padStart(WIDTHS[i])).join(" ");
  const width = COLUMNS - right.length - 1;
  return `${clip(name, width).padEnd(width)} ${right}`.trimEnd();
};

/** Returns the lines of one phase: a line for each step that did not pass, and the other steps together. */
function phaseLines([name, { steps, seconds: took, limit }], most) {
  const head = `${name}: ${counts(steps)}; ${Math.round(took)} s of ${limit} s`;
  const passed = steps.filter((s) => s.status === "passed");
  const wrap = (items) => {
    const lines = [""];
    for (const item of items) {
      if (lines.at(-1).length + item.length + 2 > COLUMNS - 11) lines.push("");
      lines[lines.length - 1] += `${lines.at(-1) ? ", " : ""}${item}`;
    }
    return lines.map((line, i) => `  ${i === 0 ? "passed  " : "        "} ${line}`);
  };
  const passes = passed.map((s) => `${s.name}${seconds(s.seconds)}`);
  // The order of urgency, for the case that not all lines fit.
  const others = ["failed", "no time", "skipped"].flatMap((status) => steps.filter((s) => s.status === status));
  // The first failed test says more than the end of the output.
  const cause = ({ status, facts, tail }) => facts?.failures?.[0] ?? (status === "failed" ? tail?.at(-1) : undefined);
  const reason = (step) =>
    [step.why, step.facts?.tests && `${step.facts.tests.passed} of ${step.facts.tests.total} tests`, cause(step)]
      .filter(Boolean)
      .join("; ");
  const lines = others.map((s) =>
    clip(`  ${s.status.padEnd(8)} ${s.name}${seconds(s.seconds)}: ${reason(s).replaceAll("\n", " ")}`, COLUMNS),
  );
  const shown = lines.length > most ? [...lines.slice(0, most - 1), `  … ${lines.length - most + 1} more`] : lines;
  return [clip(head, COLUMNS), ...(passes.length > 0 ? wrap(passes) : []), ...shown];
}

/** Returns the table for the end of a run: at most 50 lines of at most 100 columns. */
export function screenTable(summary) {
  const phases = Object.entries(summary.phases);
  const top = [
    clip(machineLine(summary), COLUMNS),
    ...phases.flatMap((phase) => phaseLines(phase, phases.length > 1 ? 9 : 16)),
  ];
  const cases = comparisons(summary);
  if (cases.length === 0) return `${top.join("\n")}\n`;
  const room = LINES - top.length - 2;
  // Cases with something to compare come first if not all fit. They keep their order.
  const weight = ({ forecast, torch }) => (torch !== undefined ? 2 : 0) + (forecast !== undefined ? 1 : 0);
  const kept = cases.length <= room ? cases : [...cases].sort((a, b) => weight(b) - weight(a)).slice(0, room - 1);
  const lines = cases.filter((one) => kept.includes(one)).map((one) => row(one.name, cells(one)));
  const left = cases.length - kept.length;
  return `${[...top, "", row("", HEADS), ...lines, ...(left > 0 ? [`… ${left} more in summary.txt`] : [])].join("\n")}\n`;
}

/** Returns one line per step, every result of the benchmarks, and the last lines of steps that did not pass. */
export function summaryText(summary) {
  const lines = [machineLine(summary)];
  for (const [name, { steps, seconds: took, limit }] of Object.entries(summary.phases)) {
    lines.push("", `${name}: ${counts(steps)}; ${Math.round(took)} s of ${limit} s`);
    for (const { name: step, status, seconds: spent, why, facts } of steps) {
      const tests = facts?.tests ? ` ${facts.tests.passed} of ${facts.tests.total} tests` : "";
      lines.push(`  ${status.padEnd(8)} ${step.padEnd(24)}${seconds(spent)}${tests}${why ? ` (${why})` : ""}`);
    }
  }
  const cases = comparisons(summary);
  if (cases.length > 0) lines.push("", row("", HEADS), ...cases.map((one) => row(one.name, cells(one))));
  for (const { steps } of Object.values(summary.phases))
    for (const { name, status, tail, facts } of steps)
      if (status !== "passed" && (tail || facts?.failures))
        lines.push("", `--- ${name}`, ...(facts?.failures ?? []), ...(tail ?? []));
  return `${lines.join("\n")}\n`;
}

/** Returns lines of JSON as in bench/results: the machine, then one line per case. */
export function resultLines(summary) {
  const { machine, phases } = summary;
  const date = phases.bench?.started;
  return [{ machine: { ...machine, date } }, ...comparisons(summary)]
    .map((line) => `${JSON.stringify(line)}\n`)
    .join("");
}

/** Returns the name that the results would have in bench/results. */
export function resultsName({ machine, phases }) {
  const card = machine.gpu
    .toLowerCase()
    .replace(/nvidia|geforce/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return `${phases.bench.started.slice(0, 10)}-${card}.jsonl`;
}
