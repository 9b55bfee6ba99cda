import type { Executable, Program, Tensor } from "../graph/index.ts";
import type { CacheShape } from "../models/cache-shape.ts";
import type { HeldModel, ModelView } from "../models/model-view.ts";
import type { ProgramShape } from "./programs.ts";

/** Makes a program for a model, or returns the cached one. */
export type ProgramMaker = (model: ModelView, shape: ProgramShape) => Program;
/** The shape of a run without the cache's shape. */
export type RunShape = Omit<ProgramShape, "cache">;

/** The cache that programs are planned for and bound to. */
interface BoundCache {
  readonly shape: CacheShape;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/**
 * The state of a model that a KV cache's runs use: the weights and adapters from when the cache was made or last
 * renewed. Later changes of the model do not affect it.
 */
export class BoundModel {
  private held: HeldModel;
  private names: readonly string[];
  private readonly executables = new Map<Program, Executable>();
  private last: { program: ProgramMaker; shape: RunShape; executable: Executable } | undefined;

  /** @param adapters default: the model's active ones @throws HeddleError NOT_FOUND, DISPOSED */
  constructor(model: ModelView, adapters: readonly string[] | undefined) {
    model.assertLive();
    this.names = namesOf(model, adapters);
    this.held = model.hold();
  }

  get model(): ModelView {
    return this.held;
  }

  /** Names of the adapters that runs use. */
  get adapters(): readonly string[] {
    return this.names;
  }

  /** Whether cached keys and values equal those that `model` would now compute with these adapters. */
  isOf(model: ModelView, adapters: readonly string[] | undefined): boolean {
    return model.weightsVersion === this.held.weightsVersion && String(namesOf(model, adapters)) === String(this.names);
  }

  /**
   * Switches to the current state of a model. No run may be pending.
   * @throws HeddleError NOT_FOUND for an adapter that was removed, DISPOSED. Nothing changes in that case.
   */
  renew(model: ModelView, adapters: readonly string[] | undefined): void {
    const names = namesOf(model, adapters);
    if (!model.isAsHeld(this.held)) {
      const held = model.hold();
      this.release();
      this.held = held;
    }
    this.names = names;
  }

  /**
   * Returns a program bound to a cache. Decoding passes the same program and the same shape object in each step, and
   * gets the same executable.
   */
  executable(program: ProgramMaker, shape: RunShape, cache: BoundCache): Executable {
    if (this.last?.program !== program || this.last.shape !== shape)
      this.last = {
        program,
        shape,
        executable: this.bound(program(this.held, { ...shape, cache: cache.shape }), cache),
      };
    return this.last.executable;
  }

  private bound(program: Program, { tensors }: BoundCache): Executable {
    let found = this.executables.get(program);
    if (!found) {
      found = program.bind(this.held.device, new Map([...this.held.tensors, ...tensors]));
      this.executables.set(program, found);
    }
    return found;
  }

  /** Drops the executables, because the cache has new tensors. */
  unbind(): void {
    for (const executable of this.executables.values()) executable.dispose();
    this.executables.clear();
    this.last = undefined;
  }

  /** Drops the executables and releases the weights. */
  release(): void {
    this.unbind();
    this.held.release();
  }
}

function namesOf(model: ModelView, adapters: readonly string[] | undefined): string[] {
  return model.adaptersOf(adapters).map(({ name }) => name);
}
