import { appendFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { HeddleError } from "../errors.ts";
import { exists, ioError, makeFolder, readJson, writeFileAtomically, writeJson } from "../formats/io.ts";
import { readWhole } from "../formats/open-file.ts";
import type { Plan } from "./plan.ts";
import type { Recipe } from "./recipe/recipe.ts";
import type { Comparison, LossPoint, Measurement, StageName, StageResult } from "./types.ts";

/** What a finished stage leaves in the state. */
export interface StageRecord extends StageResult {
  /** Of the model after the stage; `pretrain` also has the one before, of random weights. */
  measurement?: Measurement;
  before?: Measurement;
  comparison?: Comparison;
}

interface State {
  version: 1;
  plan: Plan;
  /** ISO date of the start. */
  started: string;
  done: Partial<Record<StageName, StageRecord>>;
}

/**
 * The folder of a run: `lifecycle.json` (the plan, and what is done), `data/`, and a folder for each stage. Everything is written
 * whole or not at all, so that a run that was killed at any moment goes on where it was.
 */
export class Workspace {
  readonly folder: string;
  private readonly state: State;

  private constructor(folder: string, state: State) {
    this.folder = folder;
    this.state = state;
  }

  /** @throws HeddleError INVALID_ARGUMENT where the folder holds a run of another plan, INVALID_FILE, IO */
  static async open(folder: string, plan: Plan): Promise<Workspace> {
    const path = join(folder, "lifecycle.json");
    if (!(await exists(path))) {
      await makeFolder(folder);
      const state: State = { version: 1, plan, started: new Date().toISOString(), done: {} };
      await writeJson(path, state);
      return new Workspace(folder, state);
    }
    const state = (await readJson(path)) as State;
    if (state?.version !== 1 || typeof state.plan !== "object" || typeof state.done !== "object")
      throw new HeddleError("INVALID_FILE", `${path}: expected the state of a lifecycle, got something else`);
    const say = ({ seed, budgetMinutes, quick }: Plan) =>
      `seed ${seed}, ${quick ? "quick" : `${budgetMinutes} minutes`}`;
    if (JSON.stringify(state.plan) !== JSON.stringify(plan))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `out: expected a new folder, or one whose run has the same plan (${say(plan)}), got ${folder} (${say(state.plan)})`,
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

  /** Makes a stage's folder. */
  async begin(stage: StageName): Promise<void> {
    await makeFolder(this.path(stage));
  }

  /** Keeps a stage's result; its checkpoints are then no longer needed. */
  async finish(record: StageRecord): Promise<void> {
    this.state.done[record.name] = record;
    await writeJson(this.path("lifecycle.json"), this.state);
    const folder = this.path(record.name);
    const entries = await readdir(folder).catch(() => []);
    for (const name of entries.filter((entry) => entry.startsWith("checkpoint-")))
      await rm(join(folder, name), { recursive: true, force: true });
  }

  /** Writes the data of all stages where they are not there yet, for the stages and for whoever wants to look. */
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
      // For heddle eval --task qa and choice.
      "questions.jsonl": [...recipe.evaluation.seenFacts, ...recipe.evaluation.newCountries],
      "questions-made-up.jsonl": recipe.evaluation.madeUp,
      "choice.jsonl": recipe.evaluation.choice,
    };
    for (const [name, rows] of Object.entries(files)) {
      const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
      await writeFileAtomically(this.path("data", name), (sink) => sink.write(Buffer.from(text)));
    }
    await writeJson(mark, recipe.evaluation);
  }

  data(...names: string[]): string[] {
    return names.map((name) => this.path("data", `${name}.jsonl`));
  }

  losses(stage: StageName): LossLog {
    return new LossLog(this.path(stage, "losses.jsonl"));
  }
}

const MOST_LOG_BYTES = 256 << 20;

/** A stage's loss curve, a line a step, written as it comes. A resumed run replaces the steps that it repeats. */
export class LossLog {
  private readonly file: string;
  private points: LossPoint[] | undefined;

  constructor(file: string) {
    this.file = file;
  }

  async read(): Promise<LossPoint[]> {
    const text = await readWhole(this.file, MOST_LOG_BYTES).then(String, () => "");
    // A kill may have cut the last line.
    const lines = text
      .slice(0, text.lastIndexOf("\n") + 1)
      .split("\n")
      .filter(Boolean);
    return lines.map((line) => JSON.parse(line) as LossPoint);
  }

  /** Of the last step before one: what a resumed run adds up from. */
  async before(step: number): Promise<{ seconds: number }> {
    await this.rewind(step);
    return { seconds: this.points!.at(-1)?.seconds ?? 0 };
  }

  async add(point: LossPoint): Promise<void> {
    if (!this.points) await this.rewind(point.step);
    this.points!.push(point);
    await appendFile(this.file, `${JSON.stringify(point)}\n`).catch((error: unknown) => {
      throw ioError(error, this.file, "written");
    });
  }

  private async rewind(step: number): Promise<void> {
    this.points = (await this.read()).filter((point) => point.step < step);
    const text = this.points.map((point) => `${JSON.stringify(point)}\n`).join("");
    await writeFileAtomically(this.file, (sink) => sink.write(Buffer.from(text)));
  }
}
