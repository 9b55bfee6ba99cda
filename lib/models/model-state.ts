import type { ModelConfig } from "../formats/config/config.ts";
import type { Executable, Tensor } from "../graph/index.ts";
import type { Adapter } from "./adapters/adapters.ts";

/** Number of states that hold a tensor. The last state to release the tensor frees it. */
const holders = new WeakMap<Tensor, number>();

function hold(tensor: Tensor): void {
  holders.set(tensor, (holders.get(tensor) ?? 0) + 1);
}

function letGo(tensor: Tensor): void {
  const left = holders.get(tensor)! - 1;
  holders.set(tensor, left);
  if (left === 0) tensor.dispose();
}

/** The fields of a model's state. */
export interface StateFields {
  readonly config: ModelConfig;
  /** See `ModelView.tensors`. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** The original weights into which adapters were merged. */
  readonly unmerged: ReadonlyMap<string, Tensor>;
  readonly adapters: ReadonlyMap<string, Adapter>;
  /** Names of the adapters that apply if a call does not name adapters. */
  readonly active: readonly string[];
  /** Names of the adapters that are merged into the weights. */
  readonly merged: readonly string[];
  /** Programs compiled for these tensors, by key. */
  readonly programs: Map<string, unknown>;
}

/**
 * The immutable state of a model until its next change. A change makes a new state, and running calls keep the old one.
 * Tensors are freed when the last state that holds them is released. Only training writes weights in place.
 */
export class ModelState implements StateFields {
  readonly config: ModelConfig;
  readonly tensors: Map<string, Tensor>;
  readonly unmerged: ReadonlyMap<string, Tensor>;
  readonly adapters: ReadonlyMap<string, Adapter>;
  readonly active: readonly string[];
  readonly merged: readonly string[];
  readonly programs: Map<string, unknown>;
  /**
   * Programs that are bound to these tensors, and that no call uses at the moment. They are kept, because binding takes longer than
   * running a short text.
   */
  private readonly idle = new Map<string, Executable>();
  private users = 1;

  constructor({ config, tensors, unmerged, adapters, active, merged, programs }: StateFields) {
    this.config = config;
    this.tensors = new Map(tensors);
    this.unmerged = unmerged;
    this.adapters = adapters;
    this.active = active;
    this.merged = merged;
    this.programs = programs;
    for (const tensor of this.all()) hold(tensor);
  }

  /** Yields all tensors, including the weights from before a merge. */
  *all(): Iterable<Tensor> {
    yield* this.tensors.values();
    yield* this.unmerged.values();
  }

  /** Adds a tensor, such as another form of an existing weight. */
  add(name: string, tensor: Tensor): void {
    this.tensors.set(name, tensor);
    hold(tensor);
  }

  /** Takes an idle bound program with this key, or returns undefined. */
  takeIdle(key: string): Executable | undefined {
    const found = this.idle.get(key);
    this.idle.delete(key);
    return found;
  }

  /** Keeps a bound program under a key for a later call, until this state is released. */
  keepIdle(key: string, executable: Executable): void {
    if (this.idle.has(key)) executable.dispose();
    else this.idle.set(key, executable);
  }

  /** Frees the idle bound programs. */
  disposeIdle(): void {
    for (const executable of this.idle.values()) executable.dispose();
    this.idle.clear();
  }

  /** Keeps the state until a matching `release`. */
  retain(): this {
    this.users++;
    return this;
  }

  /** Ends one use. The end of the last use frees the bound programs, and the tensors that no other state holds. */
  release(): void {
    if (--this.users > 0) return;
    this.disposeIdle();
    for (const tensor of this.all()) letGo(tensor);
  }
}
