import type { ReliabilityBin } from "../../metrics/calibration.ts";
import type { Measurement, StageName } from "../types.ts";
import { type Html, html, jsonScript } from "./html.ts";
import { titles } from "./names.ts";

/** The data of the page's charts. */
export type ChartData =
  | { kind: "loss"; stage: StageName; points: [step: number, loss: number][] }
  | { kind: "reliability"; stage: StageName; bins: ReliabilityBin[] };

/** Returns a figure that the page's script fills with a plot. */
export function chart(id: string, title: string, data: ChartData, note?: string | Html): Html {
  return html`<figure class="card chart"><figcaption><span class="stage ${data.stage}">${title}</span>${
    note && html` <span class="aside">${note}</span>`
  }</figcaption><div class="plot" data-chart="${id}" role="img" aria-label="${title}: ${data.kind}"></div>${jsonScript(id, data)}</figure>`;
}

/** Returns reliability diagrams, side by side. */
export function reliabilityCharts(entries: readonly { after: StageName; measurement: Measurement }[]): Html[] {
  return entries.map(({ after, measurement: { calibration } }) => {
    const { ece, eceInterval, bins, count } = calibration!;
    const note = `ECE ${ece.toFixed(3)} (${eceInterval.low.toFixed(3)} to ${eceInterval.high.toFixed(3)}), ${count} answers`;
    return chart(`reliability-${after}`, titles[after], { kind: "reliability", stage: after, bins }, note);
  });
}
