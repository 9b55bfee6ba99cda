import { HeddleError } from "../core/errors.ts";
import { isStrings } from "../core/is-iterable.ts";
import { isWhole } from "../core/is-whole.ts";
import type { RankItem } from "./items.ts";
import type { Sampler } from "./sampler.ts";
import { VoteFile, type WrittenRow } from "./vote-file.ts";

/** The state that the page shows. @experimental */
export interface RankState {
  /** Number of prompts. */
  total: number;
  /** Number of prompts that are done, including dismissed ones. */
  judged: number;
  /** Number of dismissed prompts. They have no judgement and do not come again. */
  dismissed: number;
  /** Number of prompts that were skipped in this run. They come again at the end. */
  skipped: number;
  /** The current prompt. `sampled` holds the answers so far, if there are too few to judge. */
  current: {
    id: number;
    prompt: RankItem["prompt"];
    answers: readonly string[] | null;
    sampled?: readonly string[];
  } | null;
  /** Whether the last vote can be taken back. */
  canUndo: boolean;
  /** Why the current prompt has no answers. */
  problem?: string;
}

interface Vote {
  item: RankItem;
  isDismissal: boolean;
  /** Offset of the vote's row in the file, in bytes. -1 if the vote cannot be undone. */
  offset: number;
}

/** A session of judging a list of prompts: the next prompt, votes, and undo. The vote file is its only persistent state. */
export class RankSession {
  private readonly file: VoteFile;
  private readonly sampler: Sampler;
  private readonly total: number;
  private readonly queue: RankItem[];
  private readonly votes: Vote[];
  private readonly skipped = new Set<number>();
  /** Serializes changes: a vote is on disk before the next change is processed. */
  private last: Promise<unknown> = Promise.resolve();

  private constructor(file: VoteFile, sampler: Sampler, queue: RankItem[], votes: Vote[]) {
    this.file = file;
    this.sampler = sampler;
    this.queue = queue;
    this.votes = votes;
    this.total = queue.length + votes.length;
    this.prepare();
  }

  /** Resumes after the last vote of the file. @throws HeddleError IO, INVALID_FILE */
  static async open(items: readonly RankItem[], path: string, sampler: Sampler): Promise<RankSession> {
    const { file, rows } = await VoteFile.open(path);
    const { queue, votes } = matched(items, rows);
    return new RankSession(file, sampler, queue, votes);
  }

  get state(): RankState {
    const [item] = this.queue;
    const problem = item && this.sampler.problemOf(item);
    return {
      total: this.total,
      judged: this.votes.length,
      dismissed: this.votes.filter(({ isDismissal }) => isDismissal).length,
      skipped: this.skipped.size,
      current: item
        ? {
            id: item.id,
            prompt: item.prompt,
            answers: item.answers ?? null,
            ...(problem !== undefined && { sampled: this.sampler.foundOf(item) }),
          }
        : null,
      canUndo: this.votes.length > 0 && this.votes.at(-1)!.offset >= 0,
      ...(problem !== undefined && { problem }),
    };
  }

  /**
   * Saves a judgement of the current prompt.
   * @param ranking groups of answers' indices, best first; answers of a group are equally good
   * @param how.bad whether all answers are bad. `ranking` must then be a single group
   */
  vote(id: number, ranking: readonly (readonly number[])[], { bad = false } = {}): Promise<RankState> {
    return this.change(async () => {
      const item = this.currentOf(id);
      const { answers } = item;
      if (!answers) throw new HeddleError("INVALID_ARGUMENT", "vote: no answers to judge yet");
      await this.keep(item, rowOf(item, answers, ranking, bad), false);
    });
  }

  /** Dismisses the current prompt: it has no judgement and does not come again. */
  dismiss(id: number): Promise<RankState> {
    return this.change(async () => {
      const item = this.currentOf(id);
      const answers = item.answers ?? this.sampler.foundOf(item);
      const row = { prompt: item.prompt, dismissed: true, ...(answers.length > 0 && { answers }) };
      await this.keep(item, row, true);
    });
  }

  /** Generates further answers to the current prompt, with other seeds, if it has too few to judge. */
  again(id: number): Promise<RankState> {
    return this.change(async () => {
      const item = this.currentOf(id);
      if (this.sampler.problemOf(item) === undefined)
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `again: expected a prompt for which too few answers were found, got prompt ${id}`,
        );
      this.sampler.again(item);
    });
  }

  /** Moves the current prompt to the end. */
  skip(id: number): Promise<RankState> {
    return this.change(async () => {
      const item = this.currentOf(id);
      this.queue.push(this.queue.shift()!);
      this.skipped.add(item.id);
    });
  }

  /** Removes the last vote from the session and the file, and shows its prompt again. */
  undo(): Promise<RankState> {
    return this.change(async () => {
      const vote = this.votes.at(-1);
      if (!vote || vote.offset < 0) throw new HeddleError("INVALID_ARGUMENT", "undo: no vote to take back");
      await this.file.removeLast(vote.offset);
      this.votes.pop();
      this.queue.unshift(vote.item);
    });
  }

  async close(): Promise<void> {
    await this.last.catch(() => {});
    await this.sampler.close();
    await this.file.close();
  }

  /** Writes a row about the current prompt, and moves to the next one. */
  private async keep(item: RankItem, row: object, isDismissal: boolean): Promise<void> {
    const offset = await this.file.append(row);
    this.queue.shift();
    this.skipped.delete(item.id);
    this.votes.push({ item, isDismissal, offset });
  }

  private change(work: () => Promise<void>): Promise<RankState> {
    const done = this.last
      .catch(() => {})
      .then(work)
      .then(() => {
        this.prepare();
        return this.state;
      });
    this.last = done;
    return done;
  }

  /** Requests answers to the current prompt and the next ones. */
  private prepare(): void {
    this.sampler.want(this.queue);
  }

  /** Returns the current item. Throws if `id` is another item's, so that a second key press does not judge an item that was not shown. */
  private currentOf(id: number): RankItem {
    const [item] = this.queue;
    if (!item || item.id !== id)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `id: expected ${item ? `${item.id}, the current prompt` : "no prompt, because all are judged"}, got ${id}`,
      );
    return item;
  }
}

/**
 * Returns a judgement as a row for preference training: {prompt, chosen, rejected}, or {prompt, ranked} with groups of
 * equals. If all answers are bad, they are one group that is marked as bad.
 */
function rowOf(
  item: RankItem,
  answers: readonly string[],
  ranking: readonly (readonly number[])[],
  bad: boolean,
): object {
  const indices = ranking.flat();
  const whole = indices.length === answers.length && new Set(indices).size === indices.length;
  if (!whole || indices.some((i) => !isWhole(i, 0, answers.length - 1)) || ranking.some((g) => g.length === 0))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `ranking: expected each of ${answers.length} answers once, got ${JSON.stringify(ranking)}`,
    );
  if (bad && ranking.length > 1)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `ranking: expected one group of answers that are all bad, got ${JSON.stringify(ranking)}`,
    );
  const { prompt } = item;
  if (ranking.length === 2 && answers.length === 2)
    return { prompt, chosen: answers[ranking[0]![0]!], rejected: answers[ranking[1]![0]!] };
  const ranked = ranking.map((g) => (g.length === 1 ? answers[g[0]!] : g.map((i) => answers[i])));
  return { prompt, ranked, ...(bad && { bad: true }) };
}

/** Finds the prompts that the file already judges. Rows and items are matched by their prompts, in order. */
function matched(items: readonly RankItem[], rows: readonly WrittenRow[]): { queue: RankItem[]; votes: Vote[] } {
  const open = new Map<string, RankItem[]>();
  for (const item of items) {
    const key = JSON.stringify(item.prompt);
    open.set(key, [...(open.get(key) ?? []), item]);
  }
  const votes = rows.flatMap((row, place): (Vote & { place: number })[] => {
    const item = open.get(JSON.stringify(row.value.prompt))?.shift();
    if (!item) return [];
    item.answers = answersOf(row.value) ?? item.answers;
    return [{ item, isDismissal: row.value.dismissed === true, offset: row.offset, place }];
  });
  // A vote can be undone only if every row after it has an item. All rows without an item are then before it.
  for (const [i, vote] of votes.entries()) if (vote.place - i !== rows.length - votes.length) vote.offset = -1;
  const judged = new Set(votes.map(({ item }) => item));
  return { queue: items.filter((item) => !judged.has(item)), votes };
}

/** Returns the answers that a row judged, to show them again after an undo. */
function answersOf({ chosen, rejected, ranked, answers }: WrittenRow["value"]): string[] | undefined {
  const listed = Array.isArray(ranked) ? ranked.flat() : answers;
  const all = Array.isArray(listed) ? listed : [chosen, rejected];
  return all.length >= 2 && isStrings(all) ? all : undefined;
}
