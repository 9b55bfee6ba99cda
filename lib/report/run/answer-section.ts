import { type Html, html } from "../html.ts";
import { grouped } from "../numbers.ts";
import { number } from "./run-charts.ts";
import type { RunData } from "./run-data.ts";

/** Shows sampled completions over the course of each run that logged them. */
export function answerSection(runs: readonly RunData[]): Html | undefined {
  const some = runs.filter(({ completions }) => completions.length > 0);
  if (some.length === 0) return undefined;
  return html`<section id="answers"><h2>Answers</h2><p class="lead">Sampled answers of the model during training. An advantage compares an
answer's reward with those of the other answers to its prompt.</p>${some.map(
    ({ name, completions: steps }) =>
      html`${runs.length > 1 && html`<h3>${name}</h3>`}${steps.map(
        ({ step, evaluation, completions }, i) =>
          html`<details class="card answers"${i === 0 || i === steps.length - 1 ? html` open` : ""}><summary>Step ${grouped(step)}${
            evaluation && ", held-out prompts"
          }</summary><ul>${completions.map(
            ({ prompt, completion, reward, rewards, advantage }) =>
              html`<li><p class="prompt">${prompt}</p><p class="answer">${completion || "(nothing)"}</p><p class="scores">reward <b>${number(reward)}</b>${
                advantage !== undefined && html`, advantage <b>${number(advantage)}</b>`
              }${Object.entries(rewards).map(([name, score]) => score !== null && html`, ${name} ${number(score)}`)}</p></li>`,
          )}</ul></details>`,
      )}`,
  )}</section>`;
}
