import type { ReliabilityBin } from "../metrics/calibration.ts";
import { type Html, html, jsonScript } from "./html.ts";

/** A point of a curve, for one or several steps. `low` and `high` are the smallest and the largest value. `mean` is null if no value is finite. */
export type CurvePoint = readonly [step: number, mean: number | null, low?: number, high?: number];

/** A curve of a chart. */
export interface Curve {
  /** The name of the curve, in a chart with several curves. */
  label: string;
  /** The CSS variable of the curve's color, without the leading dashes. */
  color: string;
  dashed?: boolean;
  /** Whether the values are drawn instead of their running mean. */
  exact?: boolean;
  points: readonly CurvePoint[];
}

/** The data of a chart. `range` limits the values that are shown. Default: a range with 0 and all values. */
export type ChartData =
  | { kind: "curves"; curves: readonly Curve[]; range?: readonly [low: number, high: number] }
  | { kind: "reliability"; color: string; bins: readonly ReliabilityBin[] };

/** The texts around a chart's plot. */
interface ChartText {
  title: string | Html;
  /** The plot in words, for screen readers. */
  description: string;
  note?: string | Html | undefined;
  /** Content below the plot, such as a table of its values. */
  after?: Html | undefined;
}

/** Returns a figure that the page's script fills with a plot. */
export function chart(id: string, { title, description, note, after }: ChartText, data: ChartData): Html {
  // The arrow keys select the step whose values are printed below the curves.
  const keys = data.kind === "curves" && html` tabindex="0" aria-keyshortcuts="ArrowLeft ArrowRight Home End"`;
  return html`<figure class="card chart"><figcaption>${title}${
    note && html` <span class="aside">${note}</span>`
  }</figcaption><div class="plot" data-chart="${id}" role="img" aria-label="${description}"${keys}></div>${
    data.kind === "curves" && html`<output class="reading" for="${id}"></output>`
  }${after}${jsonScript(id, data)}</figure>`;
}
