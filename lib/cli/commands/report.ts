import { join } from "node:path";
import { defineCommand } from "../command.ts";
import { needWritable, writeText } from "../terminal/output-file.ts";

export const command = defineCommand({
  about: "Draws the charts of a training run, or compares several, on one HTML page.",
  positionals: { usage: "DIR...", least: 1, most: 8 },
  options: {
    out: {
      kind: "string",
      value: "FILE",
      about: "path of the page (default: report.html in DIR; for several runs, report.html in the current folder)",
    },
  },
  without: {
    model: "no model (DIR is the outputDir of a run)",
    device: "no device",
    threads: "no threads",
    profile: "no profile",
  },
  async run({ options, positionals, out }) {
    const { readRuns, summaryOf } = await import("../../report/run/run-data.ts");
    const { renderRunReport } = await import("../../report/run/report.ts");
    const runs = await readRuns(positionals);
    const path = options.out ?? (runs.length === 1 ? join(runs[0]!.folder, "report.html") : "report.html");
    await needWritable(path);
    await writeText(path, renderRunReport(runs));
    if (out.json) out.object({ report: path, runs: runs.map(summaryOf) });
    else out.line(`The report is in ${path}.`);
  },
});
