// Sharded training: every rank holds and updates a part of the state (Rajbhandari et al. 2020, "ZeRO").
import { HeddleError } from "../../core/errors.ts";
import type { TensorData } from "../../formats/tensor-data.ts";
import { type Device, Tensor } from "../../graph/index.ts";
import type { Model } from "../../models/model.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { cutPiece } from "../../optim/partition.ts";
import type { Sharding } from "../options/optimizer-options.ts";
import type { World } from "../world/world.ts";

/** Whether every rank keeps only a part of the gradients, which programs sum over the ranks. */
export function dividesGradients(sharding: Sharding | undefined): boolean {
  return sharding === "gradients" || sharding === "parameters";
}

/** A world with the operations that sharding needs. */
export type ShardingWorld = World & Required<Pick<World, "reduceScatter" | "allGather">>;

/**
 * Checks that ranks can share the state. @returns the world; undefined without sharding
 * @throws HeddleError INVALID_ARGUMENT
 */
export function shardingWorld(sharding: Sharding | undefined, world: World | undefined): ShardingWorld | undefined {
  if (sharding === undefined || sharding === "none") return undefined;
  const refused = (expected: string, got: string) =>
    new HeddleError("INVALID_ARGUMENT", `sharding: ${sharding}: expected ${expected}, got ${got}`);
  if (!world || world.size === 1)
    throw refused(
      "several processes, which mpirun, srun or torchrun start",
      "one process, which has to hold everything",
    );
  const needed = [
    "reduceScatter",
    "allGather",
    ...(dividesGradients(sharding) ? (["joinDevice"] as const) : []),
  ] as const;
  for (const name of needed)
    if (typeof world[name] !== "function") throw refused(`a world with ${name}`, "one without it");
  return world as ShardingWorld;
}

/**
 * Whether the program of a step's last micro-batch sums the whole gradients over the ranks.
 * @throws HeddleError INVALID_ARGUMENT if the world asks for it and does not support it
 */
export function sumsInProgram(sharding: Sharding | undefined, world: World | undefined): boolean {
  if (!world || world.size === 1 || !world.overlap || dividesGradients(sharding)) return false;
  if (typeof world.joinDevice !== "function")
    throw new HeddleError("INVALID_ARGUMENT", "world: overlap: expected a world with joinDevice, got one without it");
  return true;
}

/** The state that ranks share, and how they exchange it. */
export class SharedState {
  private readonly world: ShardingWorld;
  private readonly optimizer: Optimizer;
  private readonly device: Device;
  /** Every rank's pieces of the gradients. None if the step's program divides the gradients itself. */
  private readonly gradients: readonly (readonly Tensor[])[];
  /** Every rank's pieces of the weights that every rank keeps. */
  private readonly weights: readonly (readonly Tensor[])[];
  private readonly views: Tensor[] = [];

  constructor(world: ShardingWorld, optimizer: Optimizer, model: Pick<Model, "device" | "weight">) {
    this.world = world;
    this.device = model.device;
    this.optimizer = optimizer;
    const { parts, gradients } = optimizer;
    this.gradients = (optimizer.dividesGradients ? [] : parts).map((pieces) =>
      pieces.map((piece) => cutPiece(gradients.get(`gradient.${piece.name}`)!, piece, this.views)),
    );
    this.weights = parts.map((pieces) =>
      pieces
        .filter(({ name }) => !optimizer.divided.has(name))
        .map((piece) => cutPiece(model.weight(piece.name), piece, this.views)),
    );
  }

  /** Sums the gradients over all ranks. Each rank gets the sums of its pieces. */
  async sumGradients(): Promise<void> {
    if (this.gradients.length > 0) await this.world.reduceScatter(this.gradients);
  }

  /** Sends each rank's updated weights to all ranks. Divided weights are not sent. */
  gatherWeights(): Promise<void> {
    return this.world.allGather(this.weights);
  }

  /**
   * Returns the optimizer's state of all ranks, for a file that this rank writes. The other ranks must call `sendState`
   * at the same time. Tensors must be read one after another, in order.
   */
  stateData(): TensorData[] {
    return [...this.optimizer.state].map(([name, { shape }]) => ({
      name,
      dtype: "f32",
      shape,
      bytes: () => this.gathered(name),
    }));
  }

  /** Takes part in the `stateData` of another rank. */
  async sendState(): Promise<void> {
    for (const name of this.optimizer.state.keys()) await this.gathered(name);
  }

  /** Gathers one tensor of the state. It takes memory for that tensor on every rank. All ranks must call it at the same time. */
  async gathered(name: string): Promise<Uint8Array> {
    const { world, optimizer } = this;
    const { shape, own } = optimizer.state.get(name)!;
    const parameter = name.slice(name.indexOf(".") + 1);
    const whole = Tensor.zeros(this.device, "f32", shape);
    const made = [whole];
    try {
      const parts = optimizer.parts.map((pieces, rank) => {
        const piece = pieces.find((one) => one.name === parameter);
        if (!piece) return [];
        if (rank === world.rank) return [own!.tensor];
        const part = whole.part(piece.start, piece.count);
        made.push(part);
        return [part];
      });
      await world.allGather(parts);
      const data = (await whole.read()) as Float32Array;
      if (own) data.set((await own.tensor.read()) as Float32Array, own.start);
      return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    } finally {
      for (const tensor of made) tensor.dispose();
    }
  }

  dispose(): void {
    for (const view of this.views) view.dispose();
  }
}
