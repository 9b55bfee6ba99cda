import { html } from "../html.ts";
import { renderPage } from "../page.ts";
import type { RunData } from "./run-data.ts";
import { runSections } from "./run-sections.ts";
import { runStyle } from "./run-style.ts";

/** Renders a page with the charts of one or several runs. It needs no network. */
export function renderRunReport(runs: readonly RunData[]): string {
  const title = runs.map(({ name }) => name).join(", ");
  return renderPage({ title: `${title} – heddle report`, style: runStyle, body: html`${runSections(runs)}` });
}
