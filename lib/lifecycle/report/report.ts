import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import type { ReportData } from "./data.ts";
import { escaped, html } from "./html.ts";
import { script } from "./script.ts";
import { sections } from "./sections.ts";
import { style } from "./style.ts";

/** Renders one HTML file that contains everything: style, script, plot library, data. It needs no network. */
export function renderReport(data: ReportData): string {
  const body = html`${sections(data)}`.text;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escaped("The life of a small language model")}</title>
<style>${library("uPlot.min.css")}${style}</style>
</head>
<body><main>${body}</main>
<script>${library("uPlot.iife.min.js")}</script>
<script>${script}</script>
</body>
</html>
`;
}

/** Reads a file of uPlot (MIT licence), which draws the plots. */
function library(name: string): string {
  try {
    // A constant path, because webpack would parse every file that a variable one may mean.
    const found = createRequire(import.meta.url).resolve("uplot/package.json");
    return readFileSync(join(dirname(found), "dist", name), "utf8");
  } catch (cause) {
    throw new HeddleError("NOT_FOUND", `report: the package uplot, a dependency of heddle, is not installed`, {
      cause,
    });
  }
}
