import { type BenchSuiteName, bench, benchSuites, markdownSummary, parseShare } from "../../bench/index.ts";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { defineCommand } from "../command.ts";
import { interruptible } from "../terminal/interrupt.ts";
import { needWritable, writeText } from "../terminal/output-file.ts";

export const command = defineCommand({
  about:
    "Benchmarks this build and compares it with the machine's peak rates. With --baseline, fails if a case is slower than before.",
  positionals: { usage: `[${benchSuites.join("|")} ...]`, least: 0, most: benchSuites.length },
  options: {
    baseline: {
      kind: "string",
      value: "FILE",
      about: "JSON output of an earlier run to compare with; exit code 1 if a case is slower",
    },
    "max-regression": {
      kind: "string",
      value: "5%",
      about: "allowed slowdown of a case beyond noise, as a percentage or a fraction below 1 (default: 5%)",
    },
    "fail-on-missing": {
      kind: "flag",
      about: "with --baseline: exit code 1 also if a case of the baseline was not measured",
    },
    rounds: { kind: "integer", value: "N", about: "measured rounds per case (default: 9)" },
    markdown: { kind: "string", value: "FILE", about: "write a Markdown table for a pull request" },
    quick: { kind: "flag", about: "small shapes, for a smoke test; the figures are not meaningful" },
  },
  async run({ options, positionals, out }) {
    const suites = [...new Set(positionals)].map((name) => {
      if (!(benchSuites as string[]).includes(name))
        throw invalidArgument("suite", `one of ${benchSuites.join(", ")}`, name);
      return name as BenchSuiteName;
    });
    for (const name of ["max-regression", "fail-on-missing"] as const)
      if (options[name] !== undefined && options.baseline === undefined)
        throw new HeddleError("INVALID_ARGUMENT", `--${name}: requires --baseline`);
    const maxRegression = parseShare(options["max-regression"] ?? "5%", "--max-regression");
    const { markdown, baseline } = options;
    if (markdown !== undefined) await needWritable(markdown);
    const work = async (signal: AbortSignal) => {
      const report = await bench({
        ...(suites.length > 0 && { suites }),
        device: options.device,
        threads: options.threads,
        model: options.model,
        rounds: options.rounds,
        quick: options.quick,
        baseline,
        maxRegression,
        signal,
        onResult({ name, value, unit, interval: [low, high], roofline, ceiling, dataSheet }) {
          const reached =
            ceiling && ` of ${(ceiling.value / 1e9).toPrecision(4)} G${ceiling.name === "read" ? "B" : "FLOP"}/s`;
          const sheet = dataSheet === undefined ? "" : `, ${Math.round(dataSheet * 100)} % of the data sheet`;
          const share = roofline === null ? "" : `, ${Math.round(roofline * 100)} %${reached}${sheet}`;
          const text = `${name}: ${value.toPrecision(4)} ${unit} (${low.toPrecision(3)} to ${high.toPrecision(3)}${share})`;
          if (out.json) out.log(text);
          else out.line(text);
        },
      });
      if (out.json) out.object(report);
      if (markdown !== undefined) await writeText(markdown, markdownSummary(report, maxRegression));
      const { results, regressions = [], unmatched } = report;
      // Fail if the baseline has none of the cases, because then nothing would be checked.
      if (baseline !== undefined && !results.some((r) => r.baseline))
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `--baseline: expected a file with at least one case of this run, got ${baseline} without such a case`,
        );
      for (const name of unmatched?.missing ?? []) out.log(`only in the baseline: ${name}`);
      for (const { name, unit, value, baseline } of results.filter((r) => regressions.includes(r.name)))
        out.log(
          `slower: ${name}: ${baseline!.value.toPrecision(4)} to ${value.toPrecision(4)} ${unit}, ${(-100 * baseline!.change).toFixed(1)} % less, corrected for machine drift`,
        );
      const isIncomplete = options["fail-on-missing"] === true && (unmatched?.missing.length ?? 0) > 0;
      if (regressions.length > 0 || isIncomplete) process.exitCode = 1;
      else if (baseline !== undefined && !out.json)
        out.line(`no case is slower by more than ${Number((maxRegression * 100).toFixed(2))} % beyond noise`);
    };
    await interruptible("bench", work, () => "no partial report is written");
  },
});
