import { type BenchSuiteName, bench, benchSuites, markdownSummary, parseShare } from "../../bench/index.ts";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { defineCommand } from "../command.ts";
import { interruptible } from "../terminal/interrupt.ts";
import { needWritable, writeText } from "../terminal/output-file.ts";

export const command = defineCommand({
  about:
    "Measures this build on this machine, beside the machine's own ceilings; with --baseline it fails where something became slower.",
  positionals: { usage: `[SUITE ...], of ${benchSuites.join(", ")}`, least: 0, most: benchSuites.length },
  options: {
    baseline: {
      kind: "string",
      value: "FILE",
      about: "the JSON of an earlier run; exit code 1 where a case is slower",
    },
    "max-regression": {
      kind: "string",
      value: "5%",
      about: "what a case may lose beyond its noise: a number or a number with % (below 1 without %: a share)",
    },
    "fail-on-missing": {
      kind: "flag",
      about: "with --baseline: exit code 1 also where one of its cases was not measured now",
    },
    rounds: { kind: "integer", value: "N", about: "rounds that count, of each case (default: 9)" },
    markdown: { kind: "string", value: "FILE", about: "write a table for a pull request" },
    quick: { kind: "flag", about: "small shapes: shows the machinery, measures nothing of worth" },
  },
  async run({ options, positionals, out }) {
    const suites = [...new Set(positionals)].map((name) => {
      if (!(benchSuites as string[]).includes(name))
        throw invalidArgument("suite", `one of ${benchSuites.join(", ")}`, name);
      return name as BenchSuiteName;
    });
    for (const name of ["max-regression", "fail-on-missing"] as const)
      if (options[name] !== undefined && options.baseline === undefined)
        throw new HeddleError("INVALID_ARGUMENT", `--${name}: expected --baseline beside it, got none`);
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
        onResult({ name, value, unit, interval: [low, high], roofline, ceiling }) {
          const reached =
            ceiling && ` of ${(ceiling.value / 1e9).toPrecision(4)} G${ceiling.name === "read" ? "B" : "FLOP"}/s`;
          const share = roofline === null ? "" : `, ${Math.round(roofline * 100)} %${reached}`;
          const text = `${name}: ${value.toPrecision(4)} ${unit} (${low.toPrecision(3)} to ${high.toPrecision(3)}${share})`;
          if (out.json) out.log(text);
          else out.line(text);
        },
      });
      if (out.json) out.object(report);
      if (markdown !== undefined) await writeText(markdown, markdownSummary(report, maxRegression));
      const { results, regressions = [], unmatched } = report;
      // A gate that has nothing to hold anything against must not be passed.
      if (baseline !== undefined && !results.some((r) => r.baseline))
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `--baseline: expected a case that was measured now as well, got ${baseline} with none of them`,
        );
      for (const name of unmatched?.missing ?? []) out.log(`in the baseline alone: ${name}`);
      for (const { name, unit, value, baseline } of results.filter((r) => regressions.includes(r.name)))
        out.log(
          `slower: ${name}: ${baseline!.value.toPrecision(4)} to ${value.toPrecision(4)} ${unit}, ${(-100 * baseline!.change).toFixed(1)} % less with the machine's drift taken out`,
        );
      const isIncomplete = options["fail-on-missing"] === true && (unmatched?.missing.length ?? 0) > 0;
      if (regressions.length > 0 || isIncomplete) process.exitCode = 1;
      if (regressions.length === 0 && baseline !== undefined && !out.json)
        out.line(`nothing is slower by more than ${maxRegression * 100} % and the noise`);
    };
    await interruptible("bench", work, () => "there is no report of a part");
  },
});
