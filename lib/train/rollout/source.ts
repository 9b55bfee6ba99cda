import { HeddleError, throwIfAborted } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { permutation, Stream } from "../../data/random.ts";
import { exampleFingerprint } from "../examples/example-fingerprint.ts";
import type { BatchSource } from "../loop/trainer.ts";
import { needSameReference } from "../preference/reference.ts";
import { gather, soloWorld, type World } from "../world/world.ts";
import type { RolloutBatch } from "./batch.ts";
import type { PlacedPrompt } from "./draw.ts";
import { pack, unpack } from "./pack.ts";
import type { PolicyPrompt } from "./prompts.ts";

/** Options of a `RolloutSource`. */
export interface RolloutSourceOptions<Drawn, Item> {
  heldOut?: readonly PolicyPrompt[] | undefined;
  /** Number of prompts in one rollout. */
  promptsPerRollout: number;
  /** Number of answers in a micro-batch. */
  batchSize: number;
  /** Number of passes over a rollout's answers, each in a new order with `shuffle`. */
  passes: number;
  shuffle: boolean;
  seed: number;
  /** Fingerprint of the reference that scores the answers. Default: no reference. */
  reference?: string | undefined;
  /** Prompts are distributed over the ranks. All ranks learn from all answers. Default: one process. */
  world?: World | undefined;
  /**
   * Draws and scores answers with the current weights, the same number for each prompt. The results are plain data
   * (including typed arrays).
   * @param rollout number of the rollout; in an evaluation, 2³¹ or more
   */
  draw(prompts: readonly PlacedPrompt[], rollout: number, signal: AbortSignal | undefined): Promise<Drawn[]>;
  /** Computes the training items of a rollout's answers, which are in the order of the prompts. */
  estimate(drawn: readonly Drawn[], rollout: number): RolloutBatch<Item>;
  /** State that `draw` or `estimate` changes and that checkpoints must store. */
  memory?: { get(): unknown; set(value: unknown): void } | undefined;
  dispose?(): void;
}

interface Position {
  epoch: number;
  index: number;
  rollout: number;
  /** Identifies the prompts and the seed. A run that resumed with other prompts would skip some and repeat some. */
  fingerprint: string;
  /** See RolloutSourceOptions. */
  reference?: string | undefined;
  memory?: unknown;
  /** The current rollout: all of its answers, the current pass, and the number of answers taken in that pass. */
  open?: { pass: number; taken: number; batch: unknown } | undefined;
}

/**
 * Micro-batches of answers drawn by the policy. A rollout is drawn only when the previous rollout is used up, because
 * it must use the current weights. A position contains the current rollout, because the weights that drew it no longer
 * exist.
 */
export class RolloutSource<Drawn, Item> implements BatchSource<RolloutBatch<Item>> {
  readonly prefetch = false;
  private readonly prompts: readonly PolicyPrompt[];
  private readonly options: RolloutSourceOptions<Drawn, Item>;
  private readonly fingerprint: string;
  private epoch = 0;
  private index = 0;
  private rollout = 0;
  private open: { pass: number; taken: number; batch: RolloutBatch<Item>; order?: readonly number[] } | undefined;

  constructor(prompts: readonly PolicyPrompt[], options: RolloutSourceOptions<Drawn, Item>) {
    this.prompts = prompts;
    this.options = options;
    // Leave out `where`: the same prompts may be in another file.
    this.fingerprint = exampleFingerprint(
      prompts.map(({ ids, columns }) => [ids, columns]),
      options.seed,
    );
  }

  /** Whether the next batch begins a rollout. */
  get readsModel(): boolean {
    return !this.open;
  }

  async next(signal?: AbortSignal): Promise<RolloutBatch<Item>> {
    const { batchSize, passes } = this.options;
    if (!this.open) {
      const prompts = await this.take(signal);
      const batch = await this.rollOut(prompts, this.rollout, signal);
      this.rollout += 1;
      this.open = { pass: 0, taken: 0, batch };
    }
    const { batch, taken, pass } = this.open;
    this.open.order ??= await this.orderOf(batch, pass);
    const { order } = this.open;
    const answers = order.slice(taken, taken + batchSize).map((i) => batch.answers[i]!);
    const after = taken + answers.length;
    if (after < order.length) this.open = { ...this.open, taken: after };
    else if (pass + 1 < passes) this.open = { batch, pass: pass + 1, taken: 0 };
    else this.open = undefined;
    return { answers, report: batch.report };
  }

  private async rollOut(
    prompts: readonly PolicyPrompt[],
    rollout: number,
    signal: AbortSignal | undefined,
  ): Promise<RolloutBatch<Item>> {
    const { world = soloWorld, draw, estimate } = this.options;
    const { size, rank } = world;
    const placed = prompts.map((prompt, place) => ({ prompt, place }));
    const mine = await draw(
      placed.filter(({ place }) => place % size === rank),
      rollout,
      signal,
    );
    if (size === 1) return estimate(mine, rollout);
    const ranks = (await gather(world, pack(mine))).map((part) => unpack(part) as Drawn[]);
    // Prompt i was answered by rank i mod size, as its ⌊i / size⌋-th prompt. Rank 0 has ⌈prompts / size⌉ prompts.
    const each = ranks[0]!.length / Math.ceil(prompts.length / size);
    const answersTo = (place: number) => {
      const first = Math.floor(place / size) * each;
      return ranks[place % size]!.slice(first, first + each);
    };
    return estimate(
      placed.flatMap(({ place }) => answersTo(place)),
      rollout,
    );
  }

  /** Returns the next prompts. Each pass over them has a new order. */
  private async take(signal: AbortSignal | undefined): Promise<PolicyPrompt[]> {
    const { seed, promptsPerRollout } = this.options;
    const taken: PolicyPrompt[] = [];
    while (taken.length < promptsPerRollout) {
      throwIfAborted(signal, "rollout");
      const order = await permutation(this.prompts.length, seed, Stream.documents, this.epoch);
      const part = order.subarray(this.index, this.index + promptsPerRollout - taken.length);
      for (const i of part) taken.push(this.prompts[i]!);
      this.index += part.length;
      if (this.index === order.length) [this.epoch, this.index] = [this.epoch + 1, 0];
    }
    return taken;
  }

  private async orderOf({ answers }: RolloutBatch<Item>, pass: number): Promise<number[]> {
    const { seed, shuffle } = this.options;
    if (!shuffle) return answers.map((_, i) => i);
    // `this.rollout` is the number of rollouts drawn so far, including this one.
    return [...(await permutation(answers.length, seed, Stream.rollouts, this.rollout, pass + 1))];
  }

  state(): Position {
    const { epoch, index, rollout, fingerprint, open } = this;
    const { reference } = this.options;
    const memory = this.options.memory?.get();
    return {
      epoch,
      index,
      rollout,
      fingerprint,
      ...(reference !== undefined && { reference }),
      ...(memory !== undefined && { memory }),
      // Packed only when serialized, because most positions are never serialized.
      ...(open && { open: { pass: open.pass, taken: open.taken, batch: { toJSON: () => pack(open.batch) } } }),
    };
  }

  restore(state: unknown): void {
    const position = JSON.parse(JSON.stringify(state ?? {})) as Partial<Position>;
    const { epoch, index, rollout, fingerprint, open, memory } = position;
    const { reference } = this.options;
    if (typeof fingerprint === "string" && fingerprint !== this.fingerprint)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `resume: expected the prompts and seed of the resumed run (${fingerprint}), got others (${this.fingerprint})`,
      );
    // The answers in the checkpoint were scored by this reference.
    if (reference !== undefined) needSameReference(position.reference, reference);
    const valid = [epoch, index, rollout].every((v) => isWhole(v));
    if (!valid || index! >= this.prompts.length)
      throw new HeddleError(
        "INVALID_FILE",
        `checkpoint: expected a position in the ${this.prompts.length} prompts, got epoch ${epoch}, index ${index}, rollout ${rollout}`,
      );
    this.epoch = epoch!;
    this.index = index!;
    this.rollout = rollout!;
    this.open = open && { ...open, batch: unpack(open.batch) as RolloutBatch<Item> };
    if (memory !== undefined) this.options.memory?.set(memory);
  }

  get evaluation(): ((signal?: AbortSignal) => AsyncGenerator<RolloutBatch<Item>>) | undefined {
    const { heldOut = [], batchSize } = this.options;
    if (heldOut.length === 0) return undefined;
    const rollOut = this.rollOut.bind(this);
    return async function* evaluate(signal) {
      // Draw all answers together, so that every micro-batch reports the same means. Every evaluation uses the same
      // random draws.
      const { answers, report } = await rollOut(heldOut, 2 ** 31, signal);
      for (let i = 0; i < answers.length; i += batchSize) yield { answers: answers.slice(i, i + batchSize), report };
    };
  }

  dispose(): void {
    this.options.dispose?.();
  }
}
