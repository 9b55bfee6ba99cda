import { tableNumber } from "../core/amounts.ts";
import { checkObject, invalidArgument } from "../core/errors.ts";
import type { BenchReport } from "./types.ts";

/**
 * Returns a Markdown table for a pull request or a job summary.
 * @param maxRegression share of the speed that a result may lose. Only a report with a baseline uses it
 */
export function markdownSummary(report: BenchReport, maxRegression: number): string {
  checkObject("report", report);
  const { machine, results, regressions } = report;
  checkObject("report.machine", machine);
  if (!Array.isArray(results)) throw invalidArgument("report.results", "an array, as bench() gives it", results);
  for (const result of results) checkObject("report.results", result);
  if (typeof maxRegression !== "number") throw invalidArgument("maxRegression", "a number", maxRegression);
  const slower = new Set(regressions);
  const head = regressions
    ? ["work", "value", "baseline", "change*", "roofline", ""]
    : ["work", "value", "90 % interval", "roofline"];
  const rows = results.map(({ name, value, unit, interval, roofline, baseline }) => {
    const share = roofline === null ? "–" : `${Math.round(roofline * 100)} %`;
    if (!regressions) return [name, `${tableNumber(value)} ${unit}`, interval.map(tableNumber).join(" – "), share];
    const [old, change] = baseline ? [tableNumber(baseline.value), signed(baseline.change)] : ["–", "new"];
    return [name, `${tableNumber(value)} ${unit}`, old, change, share, slower.has(name) ? "**slower**" : ""];
  });
  const table = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.map(escaped).join(" | ")} |`);
  const most = `${Number((maxRegression * 100).toFixed(2))} % beyond noise`;
  const verdict = regressions && [
    "",
    regressions.length === 0
      ? `Nothing is slower by more than ${most}.`
      : `${regressions.length} slower by more than ${most}.`,
    "",
    "\\* corrected for the machine's drift",
  ];
  const facts = Object.entries(machine).map(([name, value]) => `${name} ${value}`);
  return `${["### heddle bench", "", escaped(facts.join(" · ")), "", ...table, ...(verdict ?? [])].join("\n")}\n`;
}

const signed = (share: number) => `${share < 0 ? "−" : "+"}${Math.abs(share * 100).toFixed(1)} %`;
const escaped = (text: string) => text.replaceAll("|", "\\|");
