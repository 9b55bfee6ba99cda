import { html } from "../../report/html.ts";
import { renderPage } from "../../report/page.ts";
import type { ReportData } from "./data.ts";
import { sections } from "./sections.ts";
import { style } from "./style.ts";

/** Renders the report as one HTML file that needs no network. */
export function renderReport(data: ReportData): string {
  return renderPage({ title: "The life of a small language model", style, body: html`${sections(data)}` });
}
