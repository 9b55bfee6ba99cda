import { firstOf } from "../../core/amounts.ts";
import { type Html, html } from "../html.ts";
import { duration, grouped, groupedCount } from "../numbers.ts";
import { answerSection } from "./answer-section.ts";
import { metricGroups } from "./metric-names.ts";
import { MAX_MORE_METRICS } from "./read-log.ts";
import { metricChart, number } from "./run-charts.ts";
import type { RunData } from "./run-data.ts";

/** Returns the parts of the page in order. */
export function runSections(runs: readonly RunData[]): (Html | undefined)[] {
  return [
    header(runs),
    runs.length > 1 ? comparison(runs) : undefined,
    ...charts(runs),
    answerSection(runs),
    about(runs),
  ];
}

const isOver = ({ log }: RunData) => log.step >= log.maxSteps;

function header(runs: readonly RunData[]): Html {
  const [run] = runs;
  const title = runs.length === 1 ? titleOf(run!) : `${runs.length} training runs`;
  return html`<header>
<p class="kicker">heddle report</p>
<h1>${title}</h1>
<p class="lead">${runs.length === 1 ? lead(run!) : `${runs.map(({ name }) => name).join(", ")}. Each run has a color; dashed curves are of held-out data.`}</p>
${runs.length === 1 && cards(run!)}
${runs.map((one) => notes(one, runs.length > 1))}
</header>`;
}

function titleOf({ name, card }: RunData): string {
  return card?.name ?? name;
}

function lead({ name, log, card }: RunData): string {
  const stage = card ? `Stage ${card.stage}` : "A training run";
  const steps = log.maxSteps > log.step ? `${grouped(log.step)} of ${grouped(log.maxSteps)}` : grouped(log.step);
  const tokens = log.tokensSeen === undefined ? "" : `, ${groupedCount(log.tokensSeen)} tokens`;
  const time = log.seconds === undefined ? "" : `, ${duration(log.seconds)} of training`;
  return `${stage} in ${name}: ${steps} steps${tokens}${time}.`;
}

/** Returns cards with the first and last values of the metrics by which a run is judged. */
function cards({ log }: RunData): Html {
  const shown = [
    { title: "Loss", curve: log.training.get("loss") },
    { title: "Loss on held-out data", curve: log.heldOut.get("loss") },
    { title: "Reward", curve: log.heldOut.get("reward") ?? log.training.get("reward") },
    {
      title: "Better answer preferred",
      curve: log.heldOut.get("rewardAccuracy") ?? log.training.get("rewardAccuracy"),
    },
  ];
  return html`<div class="cards">${shown.map(({ title, curve }) => {
    if (!curve?.first || !curve.last) return undefined;
    const { first, last, lowest } = curve;
    const best = title.startsWith("Loss on") && lowest && lowest.step !== last.step ? lowest : undefined;
    const item = ({ step, value }: { step: number; value: number }, what: string, isLast = false) =>
      html`<li class="${isLast ? "last" : ""}"><b>${number(value)}</b><span>${what}step ${grouped(step)}</span></li>`;
    return html`<div class="card"><h2>${title}</h2><ol class="journey">${first.step !== last.step && item(first, "")}${
      best && best.step !== first.step && item(best, "best, ")
    }${item(last, "", true)}</ol></div>`;
  })}</div>`;
}

/** Returns notes about a run that a reader should know before looking at its curves. */
function notes(run: RunData, isNamed: boolean): Html[] {
  const { log, cardProblem } = run;
  const many = (count: number, one: string) => `${grouped(count)} ${count === 1 ? one : `${one}s`}`;
  const texts = [
    !isOver(run) && `The log ends at step ${grouped(log.step)} of ${grouped(log.maxSteps)}.`,
    log.skippedSteps > 0 &&
      `${many(log.skippedSteps, "step")} had no effect, because the loss or gradient was not finite, or the loss was a spike.`,
    log.lossSpikes > 0 && `${many(log.lossSpikes, "loss spike")} occurred.`,
    log.superseded > 0 && `Lines of the log that a resumed run replaced: ${grouped(log.superseded)}.`,
    log.unreadable > 0 &&
      `Unreadable lines of the log: ${grouped(log.unreadable)}. This happens if the process is killed while it writes.`,
    log.moreMetrics > 0 &&
      `Metrics of the log that are not shown: ${log.moreMetrics === MAX_MORE_METRICS ? "at least " : ""}${grouped(log.moreMetrics)}.`,
    cardProblem !== undefined && `The model card could not be read: ${cardProblem}`,
  ].filter((text) => text !== false);
  return texts.map((text) => html`<p class="note">${isNamed && html`<b>${run.name}</b> `}${text}</p>`);
}

function comparison(runs: readonly RunData[]): Html {
  const value = (shown: number | undefined) => (shown === undefined ? "–" : number(shown));
  const rows = runs.map(({ name, log, card }, i) => {
    const held = log.heldOut.get("loss");
    return html`<tr><th scope="row"><span class="swatch" style="--c:var(--run${i})"></span>${name}</th><td>${card?.stage ?? "–"}</td><td class="number">${grouped(
      log.step,
    )}</td><td class="number">${log.tokensSeen === undefined ? "–" : groupedCount(log.tokensSeen)}</td><td class="number">${
      log.seconds === undefined ? "–" : duration(log.seconds)
    }</td><td class="number">${value(log.training.get("loss")?.last?.value)}</td><td class="number">${value(
      held?.last?.value,
    )}</td><td class="number">${value(held?.lowest?.value)}</td></tr>`;
  });
  const right = ["steps", "tokens", "time", "loss", "held-out loss", "best"];
  return html`<section id="runs"><h2>The runs</h2><div class="scroll" tabindex="0" role="group" aria-label="Figures of the runs"><table><thead><tr><th>run</th><th>stage</th>${right.map(
    (title) => html`<th class="number">${title}</th>`,
  )}</tr></thead><tbody>${rows}</tbody></table></div></section>`;
}

function charts(runs: readonly RunData[]): (Html | undefined)[] {
  const all = new Set(runs.flatMap(({ log }) => [...log.training.keys(), ...log.heldOut.keys()]));
  const grouped = new Set<string>(metricGroups.flatMap(({ names }) => names ?? []));
  let number = 0;
  return metricGroups.map(({ id, title, names }) => {
    const shown = names ?? [...all].filter((name) => !grouped.has(name));
    const figures = shown.flatMap((name) => metricChart(`chart${number++}`, name, runs) ?? []);
    if (figures.length === 0) return undefined;
    return html`<section id="${id}"><h2>${title}</h2><div class="grid${figures.length === 1 ? " one" : ""}">${figures}</div></section>`;
  });
}

function about(runs: readonly RunData[]): Html {
  return html`<footer><h2>About ${runs.length === 1 ? "the model" : "the models"}</h2>${runs.map(({ name, card }) => {
    if (!card) return html`<p><b>${name}</b> has no model card yet.</p>`;
    const stages = card.stages?.map(({ stage, tokens }) => `${stage} (${groupedCount(tokens)} tokens)`) ?? [card.stage];
    const data = card.data.map(({ name }) => name);
    return html`<p><b>${name}</b>: ${stages.join(", then ")}${data.length > 0 && `. Data: ${firstOf(data, 20)}`}.${
      card.notes && ` ${card.notes}`
    }</p>`;
  })}<p>A pale line or band shows single steps, a strong line their running mean. In a focused chart, the
arrow keys select a step and show its values. Long runs are thinned to a few hundred points per curve.</p></footer>`;
}
