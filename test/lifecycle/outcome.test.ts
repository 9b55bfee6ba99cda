// A run's conclusions follow from its figures, and a budget that is too short is reported first.
import { describe, expect, test } from "vitest";
import { outcomeOf, shortBudget } from "../../lib/lifecycle/outcome.ts";
import { planOf } from "../../lib/lifecycle/plan.ts";
import type { ReportData } from "../../lib/lifecycle/report/data.ts";
import { renderReport } from "../../lib/lifecycle/report/report.ts";
import type { StageMetrics, StageName } from "../../lib/lifecycle/types.ts";
import { exampleReport } from "./example-report.ts";

const stages = (after: Partial<Record<StageName, StageMetrics>>) =>
  Object.entries(after).map(([name, metrics]) => ({
    name: name as StageName,
    metrics: { before: {}, after: metrics },
  }));
const plan = (budgetMinutes: number, quick = false) => planOf({ seed: 1, budgetMinutes, quick });

const good = {
  sft: { exactMatch: 1 },
  reward: { rewardAccuracy: 0.98 },
  dpo: { inventedRate: 0.03 },
  grpo: { inventedRate: 0.2 },
};
const bad = {
  sft: { exactMatch: 0.012 },
  reward: { rewardAccuracy: 0.5 },
  dpo: { inventedRate: 1 },
  grpo: { inventedRate: 1 },
};

/** Builds a report with these figures. */
function report(after: Partial<Record<StageName, StageMetrics>>, budgetMinutes = 20): ReportData {
  const data = exampleReport();
  const changed = data.stages.map((stage) => {
    const figures = after[stage.name];
    return figures ? { ...stage, metrics: { ...stage.metrics, after: { ...stage.metrics.after, ...figures } } } : stage;
  });
  return { ...data, stages: changed, plan: plan(budgetMinutes) };
}
const textOf = (data: ReportData) =>
  renderReport(data)
    .replace(/<[^>]+>/g, " ")
    .replace(/\s+/g, " ");

describe("an outcome", () => {
  test("states what good figures show", () => {
    expect(outcomeOf(stages(good))).toEqual({
      reached: ["answers questions", "prefers better answers", "says when it does not know"],
      missed: [],
    });
  });

  test("states what poor figures do not show, with the figures", () => {
    expect(outcomeOf(stages(bad))).toEqual({
      reached: [],
      missed: [
        "answers 1.2 % of the questions exactly",
        "prefers the better answer in 50 % of the pairs",
        "invents a capital for 100 % of the countries that do not exist",
      ],
    });
  });

  test("uses the better of the two preference stages", () => {
    const { reached } = outcomeOf(stages({ dpo: { inventedRate: 0.9 }, grpo: { inventedRate: 0.1 } }));
    expect(reached).toEqual(["says when it does not know"]);
  });

  test("omits stages that did not run", () => {
    expect(outcomeOf([])).toEqual({ reached: [], missed: [] });
  });
});

describe("the report's lead", () => {
  test("promises what the figures show", () => {
    const text = textOf(report(good));
    expect(text).toContain(
      "from random numbers to a model that answers questions, prefers better answers and says when it does not know:",
    );
    expect(text).not.toContain("it needs more steps");
  });

  test("promises nothing if the figures show nothing", () => {
    const text = textOf(report(bad, 4));
    expect(text).toContain("parameters, trained from random numbers:");
    expect(text).toContain(
      "It answers 1.2 % of the questions exactly, prefers the better answer in 50 % of the pairs and invents a capital for 100 % of the countries that do not exist: it needs more steps to reach these goals",
    );
    expect(text).not.toMatch(/to a model that|says when it does not know/);
    expect(text).toContain("This run was short: a budget of 4 minutes allows 300 of the usual 1,500 steps");
  });

  test("states both if the model learned only some of it", () => {
    const text = textOf(report({ ...good, dpo: bad.dpo, grpo: bad.grpo }));
    expect(text).toContain("to a model that answers questions and prefers better answers:");
    expect(text).toContain("It invents a capital for 100 % of the countries that do not exist: it needs more steps");
  });
});

test("the report skips no heading level", () => {
  const levels = [...renderReport(exampleReport()).matchAll(/<h([1-6])\b/g)].map(([, level]) => Number(level));
  expect(levels[0]).toBe(1);
  expect(levels.filter((level) => level === 1)).toHaveLength(1);
  for (const [i, level] of levels.entries()) if (i > 0) expect(level - levels[i - 1]!).toBeLessThanOrEqual(1);
});

describe("a budget that is too short", () => {
  test("is reported with its steps, its duration, and a sufficient budget", () => {
    expect(shortBudget(plan(4))).toBe(
      "a budget of 4 minutes allows 300 of the usual 1,500 steps of pre-training (all stages take about 3 min on two cores); below half of them (10 minutes), most answers are wrong or invented",
    );
  });

  test("is one with fewer than half the usual steps; a quick run gets no warning", () => {
    expect(shortBudget(plan(9))).toBeDefined();
    expect(shortBudget(plan(10))).toBeUndefined();
    expect(shortBudget(plan(20))).toBeUndefined();
    expect(shortBudget(plan(4, true))).toBeUndefined();
  });
});
