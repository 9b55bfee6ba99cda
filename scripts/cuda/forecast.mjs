// Computes the forecast of all cases for a card, and compares it with measured results.
import { readFileSync } from "node:fs";
import { plainName } from "./binaries.mjs";
import { assumptions, cards, launchSeconds } from "./cards.mjs";
import { casesFor } from "./kernels.mjs";
import { predict } from "./model.mjs";
import { readCubin } from "./sass.mjs";
import { matches, segmentsOf } from "./trace.mjs";

/** Predicts a launch with the kernel of its cubin. Adds to `notes` what does not fit the case's description. */
export function predictLaunch(card, launch, cubin, notes = []) {
  const found = [...cubin.kernels].filter(([name]) => launch.kernel.test(name));
  if (found.length !== 1)
    throw new Error(`${launch.source}: expected one kernel that matches ${launch.kernel}, got ${found.length}`);
  const [name, { code, registers, shared, threads }] = found[0];
  if (launch.threads > threads) notes.push(`${name}: ${launch.threads} threads, but its bounds are ${threads}`);
  const unknown = new Set(code.filter((i) => i.name.startsWith("?")).map((i) => i.name));
  if (unknown.size > 0) notes.push(`${name}: unknown opcodes ${[...unknown].join(", ")}`);
  const roles = launch.roles.map((role) => {
    const segments = segmentsOf(code, role);
    const executed = (mark) =>
      segments.reduce((sum, s) => sum + s.times * s.code.filter((i) => !i.isOff && matches(mark, i)).length, 0);
    for (const [mark, total] of Object.entries(role.totals ?? {}))
      if (Math.abs(executed(mark) - total) > 0.05 * total)
        notes.push(`${plainName(name)}: a warp needs ${total} ${mark}, the path has ${Math.round(executed(mark))}`);
    return { ...role, segments };
  });
  const block = { registers, threads: launch.threads, shared: shared + (launch.shared ?? 0) };
  const { blocks, dram, l2, waits } = launch;
  return { kernel: plainName(name), block, ...predict(card, { blocks, block, roles, dram, l2, waits }) };
}

/** Predicts a case: the sum of its launches. */
export function predictCase(card, { title, bench, rate, launches }, cubinOf) {
  const notes = [];
  const parts = launches.map((launch) => {
    const { count = 1 } = launch;
    if (launch.note !== undefined) {
      const seconds = { launch: launchSeconds(card, launch.waits), DRAM: launch.dram / (card.dram * card.attainable) };
      return { count, note: launch.note, total: seconds.launch + seconds.DRAM, seconds, dram: launch.dram };
    }
    return { count, ...predictLaunch(card, launch, cubinOf(launch.source), notes) };
  });
  const total = parts.reduce((sum, p) => sum + p.count * p.total, 0);
  const seconds = {};
  for (const part of parts)
    for (const [unit, s] of Object.entries(part.seconds)) seconds[unit] = (seconds[unit] ?? 0) + part.count * s;
  const longest = parts.reduce((a, b) => (b.count * b.total > a.count * a.total ? b : a));
  const value = rate.unit === "ms" ? total * 1e3 : rate.amount / total;
  return { title, bench, unit: rate.unit, value, total, seconds, bound: longest.bound ?? "launch", parts, notes };
}

/** Returns the sources of the kernels of these cases, such as "rows/norm". */
export const sourcesOf = (cardName, only = "") =>
  casesFor(cards[cardName])
    .filter(({ title }) => title.includes(only))
    .flatMap(({ launches }) => launches.flatMap(({ source }) => source ?? []));

/** Predicts all cases, or those whose title contains `only`. */
export function forecast(cardName, cubinPath, only = "") {
  const card = cards[cardName];
  const read = new Map();
  const cubinOf = (source) => {
    const path = cubinPath(source, card.code);
    if (!read.has(path)) read.set(path, readCubin(path));
    return read.get(path);
  };
  const results = casesFor(card)
    .filter(({ title }) => title.includes(only))
    .map((one) => predictCase(card, one, cubinOf));
  return { card: card.title, code: `sm_${card.code}`, sources: card.sources, assumptions, results };
}

/** Factors from the units of lib/bench to those of the forecast. */
const TO_UNIT = { "GFLOP/s": { "TFLOP/s": 1e-3 }, "GB/s": { "TB/s": 1e-3 }, "tokens/s": { "tokens/s": 1 } };

/** Returns a forecast's value in the unit of lib/bench. */
export function benchValue({ unit, value }) {
  const [factors] = Object.values(TO_UNIT).filter((to) => unit in to);
  return value / factors[unit];
}

/** Reads the results of `heddle bench --json`, or lines of JSON with results. */
export function readResults(path) {
  const text = readFileSync(path, "utf8").trim();
  try {
    return JSON.parse(text).results ?? [];
  } catch {
    return text
      .split("\n")
      .map((line) => JSON.parse(line))
      .flatMap((line) => line.results ?? [line]);
  }
}

/** Returns { title, name, unit, measured, forecast, ratio } of each case that was measured. */
export function compare(results, measured) {
  return results.flatMap(({ title, bench = [], unit, value }) =>
    measured
      .filter(({ name }) => bench.includes(name))
      .flatMap((m) => {
        const factor = TO_UNIT[m.unit]?.[unit];
        return factor === undefined
          ? []
          : [
              {
                title,
                name: m.name,
                unit,
                measured: m.value * factor,
                forecast: value,
                ratio: (m.value * factor) / value,
              },
            ];
      }),
  );
}

/** Returns the name of the card in `cards` that a driver's name belongs to. Undefined for others, and for a MIG instance, a part of a card. */
export const cardOf = (gpu) =>
  /\bMIG\b/.test(String(gpu)) ? undefined : Object.keys(cards).find((key) => cards[key].name.test(String(gpu)));
