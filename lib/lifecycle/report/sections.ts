import { listed } from "../../core/amounts.ts";
import { chart } from "../../report/charts.ts";
import { type Html, html } from "../../report/html.ts";
import { duration, grouped, groupedCount, percent } from "../../report/numbers.ts";
import { outcomeOf, shortBudget } from "../outcome.ts";
import type { Measurement, StageMetrics, StageName } from "../types.ts";
import type { ReportData } from "./data.ts";
import { explanations, metricInfo, shown, shownChange, titles } from "./names.ts";

/** Returns the report's sections in order. */
export function sections(data: ReportData): (Html | undefined)[] {
  return [
    header(data),
    gains(data),
    curves(data),
    samples(data),
    tokens(data),
    candidates(data),
    calibration(data),
    kinds(data),
    about(data),
  ];
}

const measured = (data: ReportData, after: "random" | StageName): Measurement | undefined =>
  data.measurements.find((entry) => entry.after === after)?.measurement;

function section(id: string, title: string, lead: string | Html, ...body: (Html | undefined)[]): Html {
  return html`<section id="${id}"><h2>${title}</h2><p class="lead">${lead}</p>${body}</section>`;
}

function header(data: ReportData): Html {
  const seconds = data.stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const short = shortBudget(data.plan);
  const [random, base, sft, dpo, grpo] = (["random", "pretrain", "sft", "dpo", "grpo"] as const).map((name) =>
    measured(data, name),
  );
  const card = (label: string, name: keyof StageMetrics, steps: (readonly [string, Measurement | undefined])[]) => {
    const known = steps.filter(([, m]) => m?.metrics[name] !== undefined);
    if (known.length < 2) return undefined;
    return html`<div class="card"><h2>${label}</h2><ol class="journey">${known.map(
      ([title, m], i) =>
        html`<li class="${i === known.length - 1 ? "last" : ""}"><b>${shown(name, m!.metrics[name])}</b><span>${title}</span></li>`,
    )}</ol></div>`;
  };
  return html`<header>
<p class="kicker">heddle lifecycle</p>
<h1>The life of a small language model</h1>
<p class="lead">${lead(data, seconds)}</p>
<div class="cards">${[
    card("Bits to spell one byte of new text", "bitsPerByte", [
      ["random", random],
      ["pre-training", base],
    ]),
    card("Exact answers to rephrased questions", "exactMatch", [
      ["base", base],
      ["SFT", sft],
      ["DPO", dpo],
      ["GRPO", grpo],
    ]),
    card("Invents a capital for a country that does not exist", "inventedRate", [
      ["SFT", sft],
      ["DPO", dpo],
      ["GRPO", grpo],
    ]),
    card("Confidence off by (calibration error)", "ece", [
      ["SFT", sft],
      ["DPO", dpo],
      ["GRPO", grpo],
    ]),
  ]}</div>
${short !== undefined && html`<p class="note">This run was short: ${short}.</p>`}
${data.plan.quick && html`<p class="note">This was a quick run: a smoke test with a tiny model and a few steps, which learns nothing.</p>`}
</header>`;
}

/** Returns the report's introduction, which claims only goals that the metrics reach. */
function lead(data: ReportData, seconds: number): string {
  const { reached, missed } = outcomeOf(data.stages);
  const became =
    reached.length > 0 ? `from random numbers to a model that ${listed(reached)}` : "trained from random numbers";
  const lacks = missed.length > 0 ? ` It ${listed(missed)}: it needs more steps to reach these goals.` : "";
  return `${groupedCount(data.parameters)} parameters, ${became}: ${duration(seconds)} of training and measuring on this machine.${lacks} Every figure below was measured on texts and questions that no stage was trained on.`;
}

function gains(data: ReportData): Html {
  const rows = data.stages.flatMap((stage) => {
    const names = (Object.keys(metricInfo) as (keyof StageMetrics)[]).filter(
      (name) => stage.metrics.after[name] !== undefined,
    );
    return names.map((name, i) => {
      const { before, after } = stage.metrics;
      return html`<tr class="${i === 0 ? "first" : ""}">${
        i === 0 &&
        html`<th scope="rowgroup" rowspan="${names.length}"><span class="stage ${stage.name}">${titles[stage.name]}</span><small>${explanations[stage.name]}</small><small class="cost">${
          stage.steps > 0 && `${grouped(stage.steps)} steps, ${grouped(stage.tokens)} tokens, `
        }${duration(stage.seconds)}</small></th>`
      }<td>${metricInfo[name].title}</td><td class="number">${shown(name, before[name])}</td><td class="number"><b>${shown(
        name,
        after[name],
      )}</b></td><td class="number">${change(name, before[name], after[name])}</td></tr>`;
    });
  });
  return section(
    "gains",
    "What each stage gains",
    "DPO and the reward model with GRPO are two ways to the same end; both start from the fine-tuned model.",
    html`<div class="scroll"><table class="gains"><thead><tr><th>stage</th><th>held-out figure</th><th class="number">before</th><th class="number">after</th><th class="number">change</th></tr></thead><tbody>${rows}</tbody></table></div>`,
  );
}

function change(name: keyof StageMetrics, before: number | undefined, after: number | undefined): Html | undefined {
  if (before === undefined || after === undefined) return undefined;
  const difference = after - before;
  const { better } = metricInfo[name];
  // A change of at most 0.01 may be noise or rounding. For a share, that is one question in a hundred. Such a change is
  // shown as neither good nor bad.
  const small = Math.abs(difference) < 0.0105;
  const good = better === "up" ? difference > 0 : difference < 0;
  return html`<span class="${small ? "same" : good ? "good" : "bad"}">${shownChange(name, difference)}</span>`;
}

function curves(data: ReportData): Html {
  return section(
    "curves",
    "Loss, step by step",
    "What each stage minimizes. The curves are of different losses: compare a curve with itself, not with its neighbor.",
    html`<div class="grid">${data.losses.map(({ stage, points }) =>
      chart(
        `loss-${stage}`,
        { title: stageTitle(stage), description: `${titles[stage]}: loss` },
        {
          kind: "curves",
          curves: [{ label: "loss", color: stage, points: points.map(({ step, loss }) => [step, loss]) }],
        },
      ),
    )}</div>`,
  );
}

const stageTitle = (stage: StageName) => html`<span class="stage ${stage}">${titles[stage]}</span>`;

const verdicts = { right: "right", wrong: "wrong", declined: "wrongly declined", invented: "invented" } as const;

function samples(data: ReportData): Html {
  const prompts = data.measurements.at(-1)?.measurement.samples ?? [];
  return section(
    "samples",
    "The same prompts after every stage",
    "The likeliest continuation, each time. Questions about made-up countries show what the preference stage is for.",
    html`<div class="samples">${prompts.map(({ prompt, kind }) => {
      const answers = data.measurements.flatMap(({ after, measurement }) => {
        const sample = measurement.samples.find((entry) => entry.prompt === prompt && entry.kind === kind);
        if (!sample) return [];
        const { verdict, text } = sample;
        return [
          html`<li><span class="stage ${after}">${titles[after]}</span><q>${kind === "continue" && html`<i>${prompt}</i>`}${text || "(nothing)"}</q>${
            verdict && html`<span class="verdict ${verdict}">${verdicts[verdict]}</span>`
          }</li>`,
        ];
      });
      return html`<article class="card"><h3>${kind === "ask" ? prompt : `${prompt} …`}</h3><ul>${answers}</ul></article>`;
    })}</div>`,
  );
}

function tokens(data: ReportData): Html {
  return section(
    "tokens",
    "Text as the model sees it",
    `A model reads and writes tokens, each with a number. This tokenizer knows ${grouped(data.plan.vocabSize)} of them, learned from the training text; what it has not seen it spells in small pieces, down to single bytes.`,
    html`${data.sentences.map(
      ({ text, tokens }) =>
        html`<figure class="card drawn"><p class="tokens">${tokens.map(
          ({ id, text: piece }, i) =>
            html`<span class="token t${i % 6}" title="token ${id}"><span>${piece.replaceAll(" ", "·")}</span><small>${id}</small></span>`,
        )}</p><figcaption>${tokens.length} tokens for ${[...text].length} characters</figcaption></figure>`,
    )}`,
  );
}

function candidates(data: ReportData): Html {
  return section(
    "candidates",
    "What comes after “The capital of France is”?",
    "A model gives every token of its vocabulary a probability; these are the likeliest. Choosing one, and asking again, is all that generation is.",
    html`<div class="grid">${data.measurements.map(
      ({ after, measurement }) =>
        html`<figure class="card drawn"><figcaption><span class="stage ${after}">${titles[after]}</span></figcaption><ul class="bars">${measurement.candidates
          .slice(0, 6)
          .map(
            ({ text, probability }) =>
              html`<li><code>${text.replaceAll(" ", "·") || "∅"}</code><span class="track"><span class="bar ${after}" style="width:${(100 * probability).toFixed(2)}%"></span></span><span class="number">${percent(probability)}</span></li>`,
          )}</ul></figure>`,
    )}</div>`,
  );
}

function calibration(data: ReportData): Html {
  const entries = (["sft", "dpo", "grpo"] as const).flatMap((after) => {
    const measurement = measured(data, after);
    return measurement?.calibration ? [{ after, measurement }] : [];
  });
  return section(
    "calibration",
    "Does it know what it knows?",
    "Answers grouped by how sure the model was. A model that is honest about its confidence is on the diagonal: of answers that it gives 80 %, four in five are right. For a country that does not exist, only “I don't know” is right.",
    html`<div class="grid three">${entries.map(({ after, measurement }) => {
      const { ece, eceInterval, bins, count } = measurement.calibration!;
      const note = `ECE ${ece.toFixed(3)} (${eceInterval.low.toFixed(3)} to ${eceInterval.high.toFixed(3)}), ${count} answers`;
      const text = { title: stageTitle(after), description: `${titles[after]}: reliability`, note };
      return chart(`reliability-${after}`, text, { kind: "reliability", color: after, bins });
    })}</div>`,
  );
}

function kinds({ comparison }: ReportData): Html | undefined {
  if (!comparison) return undefined;
  const { discriminative, generative, examples, labels } = comparison;
  const row = (title: string, what: string, { before, after }: { before: number; after: number }) =>
    html`<tr><th scope="row">${title}<small>${what}</small></th><td class="number">${percent(before)}</td><td class="number"><b>${percent(after)}</b></td></tr>`;
  return section(
    "kinds",
    "Two kinds of model on one trunk",
    "The pretrained Transformer, fine-tuned twice on the same texts for the same number of steps, to tell on which continent a text is set. No text states its continent, though a few names contain it, such as South Africa. The test texts are about other countries and use other wordings.",
    html`<div class="scroll"><table><thead><tr><th>kind</th><th class="number">before</th><th class="number">after</th></tr></thead><tbody>${row(
      "Discriminative",
      `a head gives each of ${labels.length} labels a probability (before: by chance)`,
      discriminative,
    )}${row("Generative", "the label is generated as text (before: by the pretrained model)", generative)}</tbody></table></div>
<div class="grid three">${examples.map(({ text, label, probabilities, generated }) => {
      const ranked = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
      return html`<figure class="card drawn"><figcaption>${text}</figcaption><ul class="bars">${ranked.map(
        ([name, probability]) =>
          html`<li class="wide"><span class="${name === label ? "truth" : ""}">${name}</span><span class="track"><span class="bar classify" style="width:${(100 * probability).toFixed(2)}%"></span></span><span class="number">${percent(probability)}</span></li>`,
      )}</ul><p class="said">generates <q>${generated}</q></p></figure>`;
    })}</div>`,
  );
}

function about({ plan, started }: ReportData): Html {
  const { size, model } = plan;
  return html`<footer><h2>How this was made</h2>
<p>Run with seed ${plan.seed} and a budget of ${plan.budgetMinutes} minutes, begun ${started.slice(0, 10)}. A Llama-like Transformer, ${model.numHiddenLayers} layers
${model.hiddenSize} wide, ${plan.contextLength} tokens of context. ${grouped(size.stories)} stories and ${grouped(size.knowledge)} sheets of everyday knowledge
written by grammars of this package, facts about 246 places from the npm package countries-list (MIT license, Copyright 2014 Annexare
Studio), conversations and preferences made of the same facts. ${size.toldCountries} countries were told about and never asked about in training;
${size.madeUp.heldOut} made-up names and five wordings of the question occur in no training data. DPO and GRPO keep the checkpoint with the best of eight evaluations,
on questions that are used neither in training nor in this report.</p>
<p>An answer is exact when it equals the right one word for word, but for case, punctuation and articles. An answer about a made-up country is
invented when it is anything but “I don't know”. The calibration error (ECE) has ten bins; a confidence is the probability of the whole answer.</p>
<p><code>npx heddle lifecycle --seed ${plan.seed} --budget-minutes ${plan.budgetMinutes}</code></p></footer>`;
}
