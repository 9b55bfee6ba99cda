import { HeddleError, reasonOf, seedAfter } from "../core/errors.ts";
import type { TextMessage } from "../language-model/index.ts";
import type { RankItem } from "./items.ts";

/** Generates several answers to a prompt. */
export type Answering = (
  prompt: string | readonly TextMessage[],
  options: { count: number; seed: number; signal: AbortSignal },
) => Promise<string[]>;

interface SamplerOptions {
  /** Number of answers to a prompt. */
  count: number;
  seed: number;
  /** Number of prompts after the current one for which answers are generated in advance. Default 3. */
  ahead?: number;
}

/** Maximum number of tries for a prompt whose answers are empty or equal. */
const TRIES = 4;
/** Upper bound of the prompt ids. Each round of TRIES tries reserves the seeds of all ids below it. */
const IDS_PER_ROUND = 2 ** 20;

/** Generates answers in the background, a few prompts ahead. The same seed gives a prompt the same answers in every run. */
export class Sampler {
  private readonly answer: Answering;
  private readonly options: SamplerOptions;
  private readonly problems = new Map<number, string>();
  /** The distinct answers of prompts that have too few, by prompt id. Keys are the trimmed texts. */
  private readonly found = new Map<number, Map<string, string>>();
  /** Number of tries so far, by prompt id. */
  private readonly attempts = new Map<number, number>();
  private readonly stop = new AbortController();
  private wanted: readonly RankItem[] = [];
  private running: Promise<void> | undefined;

  constructor(answer: Answering, options: SamplerOptions) {
    this.answer = answer;
    this.options = options;
  }

  /** Sets the prompts that come next, in order. */
  want(queue: readonly RankItem[]): void {
    this.wanted = queue.slice(0, 1 + (this.options.ahead ?? 3));
    this.running ??= this.run().finally(() => {
      this.running = undefined;
    });
  }

  /** Returns why a prompt has too few answers, or undefined if it has answers or is still waiting for them. */
  problemOf(item: RankItem): string | undefined {
    return item.answers ? undefined : this.problems.get(item.id);
  }

  /** Returns the answers so far of a prompt that has too few. */
  foundOf(item: RankItem): readonly string[] {
    return [...(this.found.get(item.id)?.values() ?? [])];
  }

  /** Generates further answers for a prompt that has too few, with other seeds, when its turn comes. */
  again(item: RankItem): void {
    this.problems.delete(item.id);
  }

  async close(): Promise<void> {
    this.stop.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    for (;;) {
      const next = this.wanted.find((item) => !item.answers && !this.problems.has(item.id));
      if (!next || this.stop.signal.aborted) return;
      try {
        next.answers = await this.distinct(next);
      } catch (error) {
        if (this.stop.signal.aborted) return;
        this.problems.set(next.id, reasonOf(error));
      }
    }
  }

  /** Returns distinct, non-blank answers: those of earlier tries, and those that further tries add. */
  private async distinct({ id, prompt }: RankItem): Promise<string[]> {
    const { count } = this.options;
    const found = this.found.get(id) ?? new Map<string, string>();
    this.found.set(id, found);
    for (let tries = 0; tries < TRIES && found.size < count; tries++) {
      const attempt = this.attempts.get(id) ?? 0;
      const answers = await this.answer(prompt, { count, seed: this.seedOf(id, attempt), signal: this.stop.signal });
      this.attempts.set(id, attempt + 1);
      for (const text of answers) if (text.trim() !== "" && found.size < count) found.set(text.trim(), text);
    }
    if (found.size < count)
      throw new HeddleError(
        "NUMERICAL",
        `expected ${count} answers that differ, got ${found.size} in ${this.attempts.get(id)} tries (a higher temperature may help)`,
      );
    this.found.delete(id);
    return [...found.values()];
  }

  /**
   * Returns the first seed of a try, which uses `count` consecutive seeds. Seeds are numbered by round, prompt id and
   * try within the round, so no two tries share a seed.
   */
  private seedOf(id: number, attempt: number): number {
    const { count, seed } = this.options;
    const round = Math.floor(attempt / TRIES);
    return seedAfter(seed, ((round * IDS_PER_ROUND + id) * TRIES + (attempt % TRIES)) * count);
  }
}
