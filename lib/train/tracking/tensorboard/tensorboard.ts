import { invalidArgument } from "../../../core/errors.ts";
import type { SampledCompletion, TrackedRun, Tracker } from "../tracker.ts";
import { EventFile } from "./event-file.ts";
import type { SummaryValue } from "./event-message.ts";

/**
 * Returns a tracker that writes TensorBoard event files: a scalar for each metric, and texts for the configuration and
 * sampled completions. `tensorboard --logdir` shows them. A resumed run adds a file. Readers replace the steps that the
 * new file repeats.
 * @param folder the folder of one run; created if it is missing
 * @throws HeddleError INVALID_ARGUMENT
 * @example
 * await sft(model, { data: "rows.jsonl", trackers: [tensorBoard("logs/first")] });
 */
export function tensorBoard(folder: string): Tracker {
  if (typeof folder !== "string" || folder === "") throw invalidArgument("tensorBoard", "a folder", folder);
  return new TensorBoard(folder);
}

class TensorBoard implements Tracker {
  readonly name = "tensorboard";
  private readonly folder: string;
  private file: EventFile | undefined;

  constructor(folder: string) {
    this.folder = folder;
  }

  async start({ step, config }: TrackedRun): Promise<void> {
    const file = await EventFile.create(this.folder);
    this.file = file;
    await file.append({ wallTime: now(), step: 0, fileVersion: "brain.Event:2" });
    if (file.continues) await file.append({ wallTime: now(), step: step === 0 ? 0 : step + 1, sessionStart: true });
    // A line that is indented by four spaces is code in Markdown.
    const json = JSON.stringify(config, undefined, 2).replace(/^/gm, "    ");
    await this.write([{ tag: "config", texts: [[json]] }], step);
  }

  log(metrics: Readonly<Record<string, number>>, step: number): Promise<void> {
    return this.write(
      Object.entries(metrics).map(([tag, number]) => ({ tag, number })),
      step,
    );
  }

  samples(samples: readonly SampledCompletion[], step: number): Promise<void> {
    const rewards = [...new Set(samples.flatMap((sample) => Object.keys(sample.rewards)))];
    const hasAdvantage = samples.some(({ advantage }) => advantage !== undefined);
    const head = ["prompt", "completion", ...rewards, "reward", ...(hasAdvantage ? ["advantage"] : [])];
    const number = (value: number | null | undefined) =>
      typeof value === "number" ? String(Number(value.toPrecision(4))) : "";
    const rows = samples.map(({ prompt, completion, rewards: scores, reward, advantage }) => [
      prompt,
      completion,
      ...rewards.map((name) => number(scores[name])),
      number(reward),
      ...(hasAdvantage ? [number(advantage)] : []),
    ]);
    return this.write([{ tag: "completions", texts: [head, ...rows] }], step);
  }

  async end(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close();
  }

  private async write(values: readonly SummaryValue[], step: number): Promise<void> {
    await this.file?.append({ wallTime: now(), step, values });
  }
}

const now = () => Date.now() / 1000;
