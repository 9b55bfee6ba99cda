import { HeddleError } from "../errors.ts";
import type { RankItem } from "./items.ts";
import type { Sampler } from "./sampler.ts";
import { VoteFile, type WrittenRow } from "./vote-file.ts";

/** What the page shows. */
export interface RankState {
  total: number;
  judged: number;
  /** Prompts that were put off in this run; they come again at the end. */
  skipped: number;
  current: { id: number; prompt: RankItem["prompt"]; answers: readonly string[] | null } | null;
  canUndo: boolean;
  /** Why the current prompt has no answers. */
  problem?: string;
}

interface Vote {
  item: RankItem;
  offset: number;
}

/** The judging of a list of prompts: which is next, what was said, and taking it back. Votes lie in a file, nothing else is state. */
export class RankSession {
  private readonly file: VoteFile;
  private readonly sampler: Sampler;
  private readonly total: number;
  private readonly queue: RankItem[];
  private readonly votes: Vote[];
  private readonly skipped = new Set<number>();
  /** One change after another: a vote is on disk before the next is looked at. */
  private last: Promise<unknown> = Promise.resolve();

  private constructor(file: VoteFile, sampler: Sampler, queue: RankItem[], votes: Vote[]) {
    this.file = file;
    this.sampler = sampler;
    this.queue = queue;
    this.votes = votes;
    this.total = queue.length + votes.length;
    this.prepare();
  }

  /** Goes on where the file of votes ends. @throws HeddleError IO, INVALID_FILE */
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
      skipped: this.skipped.size,
      current: item ? { id: item.id, prompt: item.prompt, answers: item.answers ?? null } : null,
      canUndo: this.votes.length > 0 && this.votes.at(-1)!.offset >= 0,
      ...(problem !== undefined && { problem }),
    };
  }

  /**
   * Keeps a judgement of the current prompt.
   * @param ranking groups of answers' indices, best first; answers of a group are equally good
   */
  vote(id: number, ranking: readonly (readonly number[])[]): Promise<RankState> {
    return this.change(async () => {
      const item = this.currentOf(id);
      const { answers } = item;
      if (!answers) throw new HeddleError("INVALID_ARGUMENT", "vote: expected answers to judge, got none yet");
      const offset = await this.file.append(rowOf(item, answers, ranking));
      this.queue.shift();
      this.skipped.delete(item.id);
      this.votes.push({ item, offset });
    });
  }

  /** Puts the current prompt off to the end. */
  skip(id: number): Promise<RankState> {
    return this.change(async () => {
      const item = this.currentOf(id);
      this.queue.push(this.queue.shift()!);
      this.skipped.add(item.id);
    });
  }

  /** Takes the last vote back, out of the file too, and shows its prompt again. */
  undo(): Promise<RankState> {
    return this.change(async () => {
      const vote = this.votes.at(-1);
      if (!vote || vote.offset < 0)
        throw new HeddleError("INVALID_ARGUMENT", "undo: expected a vote to take back, got none");
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

  /** Answers of the current prompt and of those after it. */
  private prepare(): void {
    this.sampler.want(this.queue);
  }

  /** The current item, if the page speaks of it: a second key press must not judge what it did not see. */
  private currentOf(id: number): RankItem {
    const [item] = this.queue;
    if (!item || item.id !== id)
      throw new HeddleError("INVALID_ARGUMENT", `vote: expected one on prompt ${item?.id ?? "none"}, got one on ${id}`);
    return item;
  }
}

/** A judgement as preference training reads it: {prompt, chosen, rejected}, or {prompt, ranked} with groups of equals. */
function rowOf(item: RankItem, answers: readonly string[], ranking: readonly (readonly number[])[]): object {
  const said = ranking.flat();
  const whole = said.length === answers.length && new Set(said).size === said.length;
  if (
    !whole ||
    said.some((i) => !Number.isSafeInteger(i) || i < 0 || i >= answers.length) ||
    ranking.some((g) => g.length === 0)
  )
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `ranking: expected each of ${answers.length} answers once, got ${JSON.stringify(ranking)}`,
    );
  const { prompt } = item;
  if (ranking.length === 2 && answers.length === 2)
    return { prompt, chosen: answers[ranking[0]![0]!], rejected: answers[ranking[1]![0]!] };
  return { prompt, ranked: ranking.map((g) => (g.length === 1 ? answers[g[0]!] : g.map((i) => answers[i]))) };
}

/** Which prompts the file judges already: rows and prompts are matched by the prompt, in order. */
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
    return [{ item, offset: row.offset, place }];
  });
  // Only what ends the file can be taken back: from the last row on, as far as rows are ours.
  for (const [i, vote] of votes.entries()) if (vote.place - i !== rows.length - votes.length) vote.offset = -1;
  const judged = new Set(votes.map(({ item }) => item));
  return { queue: items.filter((item) => !judged.has(item)), votes };
}

/** The answers that a row judged, so that they are shown again when it is taken back. */
function answersOf({ chosen, rejected, ranked }: WrittenRow["value"]): string[] | undefined {
  const all = Array.isArray(ranked) ? ranked.flat() : [chosen, rejected];
  return all.length >= 2 && all.every((a) => typeof a === "string") ? (all as string[]) : undefined;
}
