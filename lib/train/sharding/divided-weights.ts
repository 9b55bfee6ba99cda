import type { TensorData } from "../../formats/tensor-data.ts";
import type { Tensor } from "../../graph/index.ts";
import type { Model } from "../../models/model.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import type { ShardingWorld, SharedState } from "./sharding.ts";

/** Tensors of a checkpoint that rank 0 writes. When rank 0 reads one, all ranks take part in collecting it. */
interface CollectedTensors {
  /** The optimizer's state. */
  state: TensorData[];
  /** Returns data that collects a divided weight when it is read. Returns other weights' data unchanged. @param whole the model's tensor */
  weight(data: TensorData, whole: Tensor | undefined): TensorData;
}

/**
 * The large weights of a model in a run with `sharding: "parameters"`. Between uses, every rank has only its part of them, in the
 * optimizer's tensors. The model's tensors are then unloaded, so whoever reads them gets an error.
 */
export class DividedWeights {
  private readonly world: ShardingWorld;
  private readonly optimizer: Optimizer;
  private readonly wholes: ReadonlyMap<string, Tensor>;
  private isDivided = false;
  /** Number of calls of `whole` that are running. */
  private users = 0;

  constructor(world: ShardingWorld, optimizer: Optimizer, model: Pick<Model, "weight">) {
    this.world = world;
    this.optimizer = optimizer;
    this.wholes = new Map([...optimizer.divided].map((name) => [name, model.weight(name)]));
  }

  /** Copies this rank's parts from the model's weights, which are then unloaded. Later calls do nothing. */
  async divide(): Promise<void> {
    if (this.isDivided) return;
    this.isDivided = true;
    for (const name of this.wholes.keys()) {
      await this.fill(name, async (view, part) => part.copyFrom(view));
      await this.unload(name);
    }
  }

  /**
   * Runs `work` with whole weights, which takes memory for all of them. All ranks must call it at the same time. `work` must not change
   * the weights.
   */
  async whole<T>(work: () => Promise<T>): Promise<T> {
    if (!this.isDivided) return work();
    if (this.users++ === 0) await this.gather([...this.wholes.keys()]);
    try {
      return await work();
    } finally {
      if (--this.users === 0) for (const name of this.wholes.keys()) await this.unload(name);
    }
  }

  /** Makes the model's weights whole for good, and frees the parts. All ranks must call it at the same time. */
  async restore(): Promise<void> {
    if (!this.isDivided) return;
    for (const name of this.wholes.keys()) {
      await this.gather([name]);
      this.optimizer.weights.get(`part.${name}`)?.dispose();
    }
    this.isDivided = false;
  }

  /** Changes the error that reads of divided weights give. It then says that the weights stay divided. */
  async abandon(): Promise<void> {
    if (!this.isDivided) return;
    const why = "because a training run with sharding parameters stopped before its end; load a checkpoint instead";
    // A disposed model rejects, and already gives its own error.
    for (const whole of this.wholes.values()) await whole.unload(this.message(why)).catch(() => undefined);
  }

  /**
   * Runs `write` on rank 0, which writes tensors in any order, one at a time. Each tensor takes memory on every rank while it is written. All
   * ranks must call it at the same time.
   */
  async writing(shared: SharedState, write: (tensors: CollectedTensors) => Promise<void>): Promise<void> {
    const names = [...this.wholes.keys()];
    const { world } = this;
    // Rank 0 tells the others which tensor it reads: a number from 1, or 0 at the end.
    const turn = async (number: number) => (await world.sum([number]))[0]!;
    if (world.rank > 0) {
      const states = [...this.optimizer.state.keys()];
      for (let next = await turn(0); next > 0; next = await turn(0))
        if (next > names.length) await shared.gathered(states[next - names.length - 1]!);
        else await this.oneWhole(names[next - 1]!, async () => {});
      return;
    }
    let isReading = false;
    const collected = (data: TensorData, number: number, read: () => Promise<Uint8Array>): TensorData => ({
      ...data,
      async bytes() {
        await turn(number);
        isReading = true;
        const bytes = await read();
        isReading = false;
        return bytes;
      },
    });
    const places = new Map([...this.wholes].map(([name, whole], i) => [whole, { name, number: i + 1 }]));
    const tensors: CollectedTensors = {
      state: shared.stateData().map((data, i) => collected(data, names.length + i + 1, () => bytesOf(data))),
      weight(this: void, data, whole) {
        const place = whole && places.get(whole);
        return place ? collected(data, place.number, () => oneWhole(place.name, () => bytesOf(data))) : data;
      },
    };
    const oneWhole = this.oneWhole.bind(this);
    try {
      await write(tensors);
    } catch (error) {
      // After a failed read the others still wait for the tensor, not for a number. This rank's error ends them.
      if (!isReading) await turn(0).catch(() => undefined); // `error` is the first one
      throw error;
    }
    await turn(0);
  }

  private async oneWhole<T>(name: string, work: () => Promise<T>): Promise<T> {
    await this.gather([name]);
    try {
      return await work();
    } finally {
      await this.unload(name);
    }
  }

  private async gather(names: readonly string[]): Promise<void> {
    const { world, optimizer } = this;
    const views: Tensor[] = [];
    try {
      for (const name of names) await this.wholes.get(name)!.reload();
      const parts = optimizer.parts.map((pieces, rank) =>
        names.flatMap((name) => {
          const piece = pieces.find((one) => one.name === name);
          if (!piece) return [];
          if (rank === world.rank) return [optimizer.weights.get(`part.${name}`)!];
          const view = this.wholes.get(name)!.part(piece.start, piece.count);
          views.push(view);
          return [view];
        }),
      );
      await world.allGather(parts);
      for (const name of names) await this.fill(name, async (view, part) => view.copyFrom(part));
    } finally {
      for (const view of views) view.dispose();
    }
  }

  /** Calls `copy` with this rank's range of a whole weight and this rank's part, if it has one. */
  private async fill(name: string, copy: (view: Tensor, part: Tensor) => Promise<void>): Promise<void> {
    const { optimizer, world } = this;
    const piece = optimizer.parts[world.rank]!.find((one) => one.name === name);
    if (!piece) return;
    const whole = this.wholes.get(name)!;
    const part = optimizer.weights.get(`part.${name}`)!;
    if (piece.count === whole.elements) return copy(whole, part);
    const view = whole.part(piece.start, piece.count);
    try {
      await copy(view, part);
    } finally {
      view.dispose();
    }
  }

  private async unload(name: string): Promise<void> {
    await this.wholes.get(name)!.unload(this.message("because a training run with sharding parameters divides them"));
  }

  private message(why: string): string {
    return `model: expected whole weights, got the part of rank ${this.world.rank}, ${why}`;
  }
}

async function bytesOf({ bytes }: TensorData): Promise<Uint8Array> {
  const given = typeof bytes === "function" ? await bytes() : bytes;
  if (given instanceof Uint8Array) return given;
  const chunks: Uint8Array[] = [];
  for await (const chunk of given) chunks.push(chunk.slice());
  return Buffer.concat(chunks);
}
