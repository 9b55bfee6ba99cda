import type { SampledCompletion } from "../../train/tracking/tracker.ts";
import { oneLine } from "./output.ts";

/** Width of the table in columns if the terminal's width is not known. */
const USUAL_WIDTH = 100;
/** Maximum width of the table in columns. */
const MAX_WIDTH = 160;

/** Formats sampled completions as a table with a line for each: its rewards, its advantage, the end of its prompt, and the answer. */
export function completionsTable(
  step: number,
  completions: readonly SampledCompletion[],
  columns = USUAL_WIDTH,
): string[] {
  const rewards = [...new Set(completions.flatMap(({ rewards }) => Object.keys(rewards)))];
  const number = (value: number | null | undefined) => (typeof value === "number" ? value.toFixed(3) : "–");
  const hasAdvantage = completions.some(({ advantage }) => advantage !== undefined);
  const head = [...(rewards.length > 1 ? rewards : []), "reward", ...(hasAdvantage ? ["advantage"] : [])].map(oneLine);
  const rows = completions.map(({ rewards: scores, reward, advantage }) => [
    ...(rewards.length > 1 ? rewards.map((name) => number(scores[name])) : []),
    number(reward),
    ...(hasAdvantage ? [number(advantage)] : []),
  ]);
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const cells = (row: readonly string[]) => row.map((cell, i) => cell.padStart(widths[i]!)).join("  ");
  const left = Math.max(30, Math.min(columns, MAX_WIDTH) - cells(head).length - 5);
  const forPrompt = Math.floor(left / 3);
  return [
    `answers at step ${step}`,
    `${cells(head)}  ${"prompt".padEnd(forPrompt)}  answer`,
    ...completions.map(
      ({ prompt, completion }, i) =>
        `${cells(rows[i]!)}  ${ending(oneLine(prompt), forPrompt).padEnd(forPrompt)}  ${beginning(oneLine(completion), left - forPrompt)}`,
    ),
  ];
}

/** Returns the end of a prompt. Many prompts have the same beginning and differ only at the end. */
const ending = (text: string, length: number) => {
  const characters = [...text];
  return characters.length <= length ? text : `…${characters.slice(1 - length).join("")}`;
};

const beginning = (text: string, length: number) => {
  const characters = [...text];
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join("")}…`;
};
