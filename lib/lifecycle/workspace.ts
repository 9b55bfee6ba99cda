import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { exists, listFolder, makeFolder, readJson, writeFileAtomically, writeJson } from "../io/atomic-files.ts";
import { readWhole } from "../io/open-file.ts";
import { eventOf } from "../train/tracking/event-lines.ts";
import { LOG_FILE } from "../train/tracking/run-log.ts";
import type { Plan } from "./plan.ts";
import type { Recipe } from "./recipe/recipe.ts";
import {
  type Comparison,
  type LossPoint,
  type Measurement,
  type StageName,
  type StageResult,
  stageNames,
} from "./types.ts";

/** The record of a finished stage in the state. */
export interface StageRecord extends StageResult {
  /** The measurement after the stage. */
  measurement?: Measurement;
  /** For `pretrain`: the measurement of the random weights before the stage. */
  before?: Measurement;
  comparison?: Comparison;
}

const MAX_LOG_BYTES = 256 << 20;

interface State {
  version: 1;
  plan: Plan;
  /** ISO date of the start. */
  started: string;
  done: Partial<Record<StageName, StageRecord>>;
}

/**
 * The folder of a run: `lifecycle.json` (the plan and finished stages), `data/`, and a folder per stage. All files are written atomically, so
 * that a killed run can resume.
 */
export class Workspace {
  readonly folder: string;
  private readonly state: State;

  private constructor(folder: string, state: State) {
    this.folder = folder;
    this.state = state;
  }

  /**
   * Opens or creates the folder.
   * @throws HeddleError INVALID_ARGUMENT if the folder has a run of another plan, INVALID_FILE, IO
   */
  static async open(folder: string, plan: Plan): Promise<Workspace> {
    const path = join(folder, "lifecycle.json");
    if (!(await exists(path))) {
      await makeFolder(folder);
      await needUnused(folder);
      const state: State = { version: 1, plan, started: new Date().toISOString(), done: {} };
      await writeJson(path, state);
      return new Workspace(folder, state);
    }
    const state = (await readJson(path)) as State;
    if (state?.version !== 1 || !isObject(state.plan) || !isObject(state.done))
      throw new HeddleError("INVALID_FILE", `${path}: expected the state of a lifecycle run, got other JSON`);
    const say = ({ seed, budgetMinutes, quick }: Plan) =>
      `seed ${seed}, ${quick ? "quick" : `${budgetMinutes} minutes`}`;
    if (JSON.stringify(state.plan) !== JSON.stringify(plan))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `out: expected a new folder, or the options of the run in ${folder} (${say(state.plan)}), got ${say(plan)}`,
      );
    return new Workspace(folder, state);
  }

  get plan(): Plan {
    return this.state.plan;
  }

  get started(): string {
    return this.state.started;
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  record(stage: StageName): StageRecord | undefined {
    return this.state.done[stage];
  }

  get records(): StageRecord[] {
    return Object.values(this.state.done);
  }

  /** Creates a stage's folder. */
  async begin(stage: StageName): Promise<void> {
    await makeFolder(this.path(stage));
  }

  /** Saves a stage's result, and removes its checkpoints. */
  async finish(record: StageRecord): Promise<void> {
    this.state.done[record.name] = record;
    await writeJson(this.path("lifecycle.json"), this.state);
    const folder = this.path(record.name);
    const entries = await readdir(folder).catch(() => []);
    for (const name of entries.filter((entry) => entry.startsWith("checkpoint-")))
      await rm(join(folder, name), { recursive: true, force: true });
  }

  /** Writes the data files of all stages, unless they exist. The stages read the files, and users can inspect them. */
  async writeData(recipe: Recipe): Promise<void> {
    const mark = this.path("data", "evaluation.json");
    if (await exists(mark)) return;
    await makeFolder(this.path("data"));
    const { stories, facts, knowledge, heldOut } = recipe.corpus;
    const texts = (documents: readonly string[]) => documents.map((text) => ({ text }));
    const files: Record<string, readonly object[]> = {
      "stories.jsonl": texts(stories),
      "facts.jsonl": texts(facts),
      "knowledge.jsonl": texts(knowledge),
      "held-out.jsonl": texts(heldOut),
      "sft.jsonl": recipe.sft,
      "preferences.jsonl": recipe.preferences.train,
      "preferences-held-out.jsonl": recipe.preferences.heldOut,
      "prompts.jsonl": recipe.prompts,
      "classify.jsonl": recipe.classification.train,
      "classify-held-out.jsonl": recipe.classification.test,
      // Question files for heddle eval --task qa and choice.
      "questions.jsonl": [...recipe.evaluation.seenFacts, ...recipe.evaluation.newCountries],
      "questions-made-up.jsonl": recipe.evaluation.madeUp,
      "choice.jsonl": recipe.evaluation.choice,
    };
    for (const [name, rows] of Object.entries(files)) {
      const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
      await writeFileAtomically(this.path("data", name), (sink) => sink.write(Buffer.from(text)));
    }
    // Written last: if this file exists, all other data files are complete.
    await writeJson(mark, recipe.evaluation);
  }

  data(...names: string[]): string[] {
    return names.map((name) => this.path("data", `${name}.jsonl`));
  }

  /** Returns the logged steps of a stage, or none for a stage without training. */
  async losses(stage: StageName): Promise<LossPoint[]> {
    const text = await readWhole(this.path(stage, LOG_FILE), MAX_LOG_BYTES).then(String, () => "");
    const events = text.split("\n").map((line) => eventOf(line) as Partial<LossPoint> | undefined);
    return events.filter(
      (event): event is LossPoint => Number.isFinite(event?.loss) && Number.isFinite(event?.seconds),
    );
  }
}

/** Refuses a folder in which a stage's folder has files, because the stage would resume from them. @throws HeddleError INVALID_ARGUMENT */
async function needUnused(folder: string): Promise<void> {
  for (const stage of stageNames)
    if ((await listFolder(join(folder, stage))).length > 0)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `out: expected a new folder, or that of an earlier lifecycle run, got ${folder}, which contains ${stage} but no lifecycle.json`,
      );
}
