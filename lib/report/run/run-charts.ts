import { type ChartData, type Curve, chart } from "../charts.ts";
import { type Html, html } from "../html.ts";
import { grouped } from "../numbers.ts";
import { metricText } from "./metric-names.ts";
import { plotRange } from "./plot-range.ts";
import type { RunData } from "./run-data.ts";
import type { ThinnedCurve } from "./thinned-curve.ts";

/** Maximum number of rows for each curve in a chart's table. */
const MAX_ROWS = 12;

interface MetricCurve extends Curve {
  data: ThinnedCurve;
}

/** Returns the figure of a metric over all runs that have it. Returns undefined if no run has it. */
export function metricChart(id: string, name: string, runs: readonly RunData[]): Html | undefined {
  const { title, note, exact } = metricText(name);
  const curves = runs.flatMap(({ name: run, log }, i) => {
    const both = [
      { data: log.training.get(name), held: false },
      { data: log.heldOut.get(name), held: true },
    ];
    return both.flatMap(({ data, held }): MetricCurve[] => {
      if (!data) return [];
      const kind = held ? "held-out" : "training";
      // A single run has one color for training and one for held-out data. With several runs, each has one color. Held-out curves are dashed.
      const color = runs.length > 1 ? `run${i}` : held ? "held" : "run0";
      const label = runs.length === 1 ? kind : held ? `${run}, held-out` : run;
      return [{ label, color, dashed: held, ...(exact && { exact }), points: data.points, data }];
    });
  });
  if (curves.length === 0) return undefined;
  const { range, above, below } = plotRange(curves);
  const outside = [
    above !== undefined && `highest value ${number(above)}, above the chart`,
    below !== undefined && `lowest value ${number(below)}, below the chart`,
  ].filter((text) => text !== false);
  const data: ChartData = {
    kind: "curves",
    // A single curve needs no name.
    curves: curves.map(({ data: _, ...curve }) => (curves.length > 1 ? curve : { ...curve, label: "" })),
    range,
  };
  const notes = [...(note === undefined ? [] : [note]), ...outside].join("; ");
  const text = {
    title: html`<b>${title}</b>`,
    description: `${title}. ${curves.map(described).join(" ")}`,
    ...(notes !== "" && { note: notes }),
    after: html`${curves.length > 1 && legend(curves)}${table(title, curves)}`,
  };
  return chart(id, text, data);
}

/** Describes a curve in words. */
function described({ label, data: { first, last, lowest, highest } }: MetricCurve): string {
  if (!first || !last || !lowest || !highest) return `${label}: no number.`;
  const at = ({ step, value }: { step: number; value: number }) => `${number(value)} at step ${grouped(step)}`;
  return `${label}: from ${at(first)} to ${at(last)}, lowest ${at(lowest)}, highest ${at(highest)}.`;
}

function legend(curves: readonly MetricCurve[]): Html {
  return html`<ul class="legend">${curves.map(
    ({ label, color, dashed, data: { last } }) =>
      html`<li><span class="swatch${dashed ? " dashed" : ""}" style="--c:var(--${color})"></span>${label}${
        last && html` <b>${number(last.value)}</b>`
      }</li>`,
  )}</ul>`;
}

/** A table of a chart's values, for reading without the plot. */
function table(title: string, curves: readonly MetricCurve[]): Html {
  const rows = curves.flatMap(({ label, points }) => {
    const count = Math.min(MAX_ROWS, points.length);
    const chosen = Array.from({ length: count }, (_, i) =>
      count === 1 ? 0 : Math.round((i * (points.length - 1)) / (count - 1)),
    );
    return chosen.map((i) => {
      const [step, mean] = points[i]!;
      return html`<tr>${curves.length > 1 && html`<th scope="row">${label}</th>`}<td class="number">${grouped(step)}</td><td class="number">${
        mean === null ? "not a number" : number(mean)
      }</td></tr>`;
    });
  });
  return html`<details><summary>Values<span class="hidden"> of ${title}</span></summary><div class="scroll" tabindex="0" role="group" aria-label="Values of ${title}"><table><thead><tr>${
    curves.length > 1 && html`<th>curve</th>`
  }<th class="number">step</th><th class="number">value</th></tr></thead><tbody>${rows}</tbody></table></div></details>`;
}

/** Formats a value with four significant digits, or with three if it is written with an exponent. */
export function number(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2).replace(/\.?0*e\+?/, "e");
  return String(Number(value.toPrecision(4)));
}
