import { mean } from "../../metrics/mean.ts";
import { Tokenizer } from "../../tokenizer/index.ts";
import type { Plan } from "../plan.ts";
import {
  type Comparison,
  type LossPoint,
  type Measurement,
  type StageName,
  type StageResult,
  stageNames,
} from "../types.ts";
import type { StageRecord, Workspace } from "../workspace.ts";

/** One token of a sentence. */
interface TokenView {
  id: number;
  text: string;
}

/** Everything that the report shows. */
export interface ReportData {
  plan: Plan;
  started: string;
  parameters: number;
  stages: StageResult[];
  /** Thinned loss curves, for the stages that have one. */
  losses: { stage: StageName; points: Pick<LossPoint, "step" | "loss">[] }[];
  /** Measurements in the order of training, starting with random weights. */
  measurements: { after: "random" | StageName; measurement: Measurement }[];
  sentences: { text: string; tokens: TokenView[] }[];
  comparison: Comparison | undefined;
}

/** Maximum number of points of a curve, as many as a screen can show. */
const MAX_POINTS = 400;

const sentences = [
  "The capital of France is Paris. Once upon a time, a little fox lived near the forest.",
  "unbelievable, こんにちは, Zorvanstan",
];

/** Collects the report's data from the records and logs of a workspace. */
export async function reportData(work: Workspace): Promise<ReportData> {
  const records = stageNames
    .map((name) => work.record(name))
    .filter((record): record is StageRecord => record !== undefined);
  const losses = [];
  for (const { name } of records) {
    // The log of `classify` contains only the steps of the discriminative classifier.
    const points = name === "classify" ? [] : await work.losses(name);
    if (points.length > 0) losses.push({ stage: name, points: thinned(points) });
  }
  const measurements: ReportData["measurements"] = [];
  for (const { name, before, measurement } of records) {
    if (before) measurements.push({ after: "random", measurement: before });
    if (measurement) measurements.push({ after: name, measurement });
  }
  const tokenizer = await Tokenizer.load(work.path("tokenizer"));
  return {
    plan: work.plan,
    started: work.started,
    parameters: parametersOf(work.plan, tokenizer.vocabSize),
    stages: records,
    losses,
    measurements,
    sentences: sentences.map((text) => ({ text, tokens: tokensOf(tokenizer, text) })),
    comparison: records.find(({ comparison }) => comparison)?.comparison,
  };
}

/** Averages neighboring points, so that the noise of single steps does not hide the trend. */
function thinned(points: readonly LossPoint[]): Pick<LossPoint, "step" | "loss">[] {
  const group = Math.max(1, Math.ceil(points.length / MAX_POINTS));
  const out = [];
  for (let i = 0; i < points.length; i += group) {
    const part = points.slice(i, i + group);
    out.push({ step: part.at(-1)!.step, loss: mean(part.map(({ loss }) => loss)) });
  }
  return out;
}

function tokensOf(tokenizer: Tokenizer, text: string): TokenView[] {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  return Array.from(tokenizer.encode(text, { addSpecialTokens: false }), (id) => {
    const bytes = tokenizer.tokenBytes(id);
    try {
      return { id, text: decoder.decode(bytes) };
    } catch {
      // The token's bytes are a part of a character.
      return { id, text: [...bytes].map((byte) => `⟨${byte.toString(16).toUpperCase().padStart(2, "0")}⟩`).join("") };
    }
  });
}

/**
 * Returns the number of parameters of a Llama model with tied embeddings. The projections of q and o have width² parameters each. Those of k and
 * v have this number times the ratio of key-value heads to heads. A layer also has three MLP matrices and two norms.
 */
function parametersOf({ model }: Plan, vocabSize: number): number {
  const { hiddenSize: width, intermediateSize, numHiddenLayers, numAttentionHeads, numKeyValueHeads } = model;
  const attention = width * width * (2 + (2 * numKeyValueHeads) / numAttentionHeads);
  return vocabSize * width + numHiddenLayers * (attention + 3 * width * intermediateSize + 2 * width) + width;
}
