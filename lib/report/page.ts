import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { escaped, type Html } from "./html.ts";
import { script } from "./script.ts";
import { baseStyle } from "./style.ts";

/** The parts of a page. */
interface PageParts {
  title: string;
  /** The styles that this page needs in addition to `baseStyle`. */
  style: string;
  body: Html;
}

/** Renders one HTML file that contains everything: style, script, plot library, data. It needs no network. */
export function renderPage({ title, style, body }: PageParts): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escaped(title)}</title>
<style>${library("uPlot.min.css")}${baseStyle}${style}</style>
</head>
<body><main>${body.text}</main>
<script>${library("uPlot.iife.min.js")}</script>
<script>${script}</script>
</body>
</html>
`;
}

/** Reads a file of uPlot (MIT license), which draws the plots. */
function library(name: string): string {
  try {
    // Resolve a constant path, because webpack would parse every file that a variable path may refer to.
    const found = createRequire(import.meta.url).resolve("uplot/package.json");
    return readFileSync(join(dirname(found), "dist", name), "utf8");
  } catch (cause) {
    throw new HeddleError("NOT_FOUND", `report: the package uplot, a dependency of heddle, is not installed`, {
      cause,
    });
  }
}
