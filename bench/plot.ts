// Draws the results of the growth suite: time per token against context, sequences per step, and model size.
import { readFile, writeFile } from "node:fs/promises";
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { report } from "./measure.ts";

interface Point {
  plot: string;
  series?: string;
  x: number;
  milliseconds: number;
}

const PLOTS: Record<string, { title: string; x: string; y: string; log: boolean; each: boolean }> = {
  context: {
    title: "A token's time grows with its context",
    x: "tokens before it",
    y: "ms a token",
    log: true,
    each: false,
  },
  batch: {
    title: "Sequences decoded at once share the weights' reading",
    x: "sequences at once",
    y: "ms a run",
    log: true,
    each: true,
  },
  size: {
    title: "One sequence's token costs what its weights cost to read",
    x: "MB of weights",
    y: "ms a token",
    log: false,
    each: false,
  },
};

/** Writes FILE-context.svg, FILE-batch.svg and FILE-size.svg. */
export async function plotGrowth(file: string | undefined): Promise<void> {
  if (!file) throw new Error("bench plot: expected a file of JSON lines");
  const lines = (await readFile(file, "utf8")).trim().split("\n");
  const points = lines.map((line) => JSON.parse(line) as Point).filter((point) => point.plot in PLOTS);
  for (const [name, plot] of Object.entries(PLOTS)) {
    const values = points.filter((point) => point.plot === name);
    if (values.length === 0) continue;
    const type = plot.log ? ("log" as const) : ("linear" as const);
    const spec: TopLevelSpec = {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      width: 520,
      height: 300,
      background: "white",
      padding: 16,
      title: { text: plot.title, anchor: "start", fontSize: 15, fontWeight: 600 },
      data: { values: values.map((v) => ({ ...v, series: v.series ?? "" })) },
      mark: { type: "line", point: { filled: true, size: 45 }, strokeWidth: 2 },
      encoding: {
        x: { field: "x", type: "quantitative", title: plot.x, scale: { type }, axis: { grid: false } },
        y: { field: "milliseconds", type: "quantitative", title: plot.y, scale: { type } },
        ...(plot.each && { color: { field: "series", type: "nominal", title: null } }),
      },
      config: { font: "system-ui, sans-serif", view: { stroke: null }, axis: { labelFontSize: 11, titleFontSize: 12 } },
    };
    const view = new View(parse(compile(spec).spec), { renderer: "none" });
    const path = `${file.replace(/\.jsonl$/, "")}-${name}.svg`;
    await writeFile(path, `${await view.toSVG()}\n`);
    report({ plot: name, path });
  }
}
