import { describe, HeddleError, invalidArgument } from "../core/errors.ts";
import { nearest } from "../core/nearest-name.ts";
import type { ModelConfig } from "../formats/config/config.ts";
import type { Device, Executable, QuantizedActivations, Tensor } from "../graph/index.ts";
import type { Adapter } from "./adapters/adapters.ts";
import type { Family } from "./family.ts";
import { headNames, modelWeights } from "./heads.ts";
import { storedName } from "./loading/dequantize.ts";
import type { ModelState } from "./model-state.ts";

/** State shared by a model and its snapshots. @internal */
interface ModelLife {
  live: boolean;
  /** See `ModelView.weightsVersion`. */
  version: number;
}

/** Properties that never change during a model's life. @internal */
interface ModelTraits {
  readonly family: Family;
  readonly device: Device;
  readonly quantizedActivations: QuantizedActivations;
  readonly temperature: number;
}

/** Read access to a model: its configuration, weights and adapters. */
export abstract class ModelView {
  /** The family, which defines the weights and the forward pass. */
  readonly family: Family;
  /** The device that holds the weights. */
  readonly device: Device;
  /**
   * Rounding of activations in products with quantized and bf16 weights when the model generates text. Training does not
   * round them.
   */
  readonly quantizedActivations: QuantizedActivations;
  /** Divisor of the logits, applied after the soft cap. A sampler at temperature 1 draws from the result. */
  readonly temperature: number;
  /** @internal */
  protected state: ModelState;
  /** @internal */
  protected readonly life: ModelLife;

  /** @internal */
  constructor(state: ModelState, life: ModelLife, { family, device, quantizedActivations, temperature }: ModelTraits) {
    this.state = state;
    this.life = life;
    this.family = family;
    this.device = device;
    this.quantizedActivations = quantizedActivations;
    this.temperature = temperature;
  }

  /**
   * Number of changes of the weights or of an adapter's tensors. Cached keys and values are invalid after a change.
   * @internal
   */
  abstract get weightsVersion(): number;

  /**
   * Returns a snapshot of the model for a call. Later changes of weights and adapters do not affect it, except training
   * steps, which write in place.
   * @param adapters names of the adapters that apply. Default: the active ones
   * @throws HeddleError NOT_FOUND for an unknown adapter, DISPOSED
   * @internal
   */
  hold(adapters?: readonly string[]): HeldModel {
    this.assertLive();
    const names = adapters && this.adaptersOf(adapters).map(({ name }) => name);
    return new HeldModel(this.state.retain(), this.life, { version: this.weightsVersion, adapters: names }, this);
  }

  /** Whether nothing has changed since the snapshot. @internal */
  isAsHeld(held: HeldModel): boolean {
    return held.state === this.state && held.weightsVersion === this.weightsVersion;
  }

  /** The model's type and sizes. */
  get config(): ModelConfig {
    return this.state.config;
  }

  /** Names of the weights, in the order of a checkpoint. */
  get weightNames(): string[] {
    return [...modelWeights(this.config).keys()].filter((n) => this.has(n));
  }

  /** Names of the weights that next-token logits depend on, without other heads and layers after pooling. */
  get languageWeightNames(): string[] {
    const heads = new Set(headNames(this.config));
    return this.weightNames.filter((name) => !heads.has(name));
  }

  /**
   * Weights by Hugging Face name, adapters' tensors, and the family's constants as `constant.<name>`. A weight whose rows
   * are in the file's order is listed as `stored/<name>`. Its usual name is added when `weight` first returns it.
   */
  get tensors(): ReadonlyMap<string, Tensor> {
    return this.state.tensors;
  }

  /**
   * Returns a weight, an adapter's tensor or a constant by name, with rows in transformers' order.
   * @throws HeddleError NOT_FOUND, DISPOSED
   */
  weight(name: string): Tensor {
    this.assertLive();
    const { tensors } = this.state;
    const known = tensors.get(name);
    if (known) return known;
    const ordered = tensors.get(storedName(name))?.ordered(this.device);
    if (!ordered) {
      const near = typeof name === "string" ? nearest(name, tensors.keys()) : undefined;
      const expected = `a weight of ${this.config.modelType}${near === undefined ? "" : ` (nearest: ${near})`}`;
      throw new HeddleError("NOT_FOUND", `weight: expected ${expected}, got ${describe(name)}`);
    }
    this.state.add(name, ordered);
    return ordered;
  }

  /** Whether a weight exists. */
  has(name: string): boolean {
    const { tensors } = this.state;
    return tensors.has(name) || tensors.has(storedName(name));
  }

  /**
   * Returns a weight as it was loaded, without a copy. Its rows may be in the file's order (`Tensor.rowOrder`). Code that
   * supports this order, or that needs only the type and shape, should call `asStored` instead of `weight`.
   * @throws HeddleError NOT_FOUND, DISPOSED
   */
  asStored(name: string): Tensor {
    this.assertLive();
    return this.state.tensors.get(storedName(name)) ?? this.weight(name);
  }

  /** Number of parameters. Tied parameters are counted once. */
  get parameterCount(): number {
    return this.weightNames.reduce((n, name) => n + this.asStored(name).elements, 0);
  }
  /** Size of the weights in memory or in the mapped file, in bytes. */
  get weightBytes(): number {
    return this.weightNames.reduce((n, name) => n + this.asStored(name).bytes, 0);
  }

  /**
   * Returns the program for `key`, which `make` creates on first use. Tracing and planning happen once, and the program
   * runs many times.
   */
  cached<T>(key: string, make: () => T): T {
    this.assertLive();
    const { programs } = this.state;
    let found = programs.get(key) as T | undefined;
    if (found === undefined) {
      found = make();
      programs.set(key, found);
    }
    return found;
  }

  /** Takes a bound program that an earlier call kept with `keepBound`, or calls `bind`. @internal */
  takeBound(key: string, bind: () => Executable): Executable {
    this.assertLive();
    return this.state.takeIdle(key) ?? bind();
  }

  /** Keeps a bound program for the next call, or frees it if the model is disposed. @internal */
  keepBound(key: string, executable: Executable): void {
    if (this.life.live) this.state.keepIdle(key, executable);
    else executable.dispose();
  }

  /** The adapters on this model, by name. */
  get adapters(): ReadonlyMap<string, Adapter> {
    return this.state.adapters;
  }

  /** Names of the adapters that apply if a call does not name adapters. Their updates add up. */
  get activeAdapters(): readonly string[] {
    return this.state.active;
  }

  /** Names of the adapters that are merged into the weights. */
  get mergedAdapters(): readonly string[] {
    return this.state.merged;
  }

  /**
   * Returns adapters by name. Default: the active ones. @throws HeddleError NOT_FOUND, INVALID_ARGUMENT for a merged
   * adapter
   */
  adaptersOf(names: readonly string[] = this.activeAdapters): Adapter[] {
    if (!Array.isArray(names)) throw invalidArgument("adapters", "an array of adapters' names", names);
    return [...new Set(names)].map((name) => {
      if (this.mergedAdapters.includes(name))
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `adapter: expected an adapter that is not merged into the weights, got ${name}`,
        );
      const found = this.adapters.get(name);
      if (found) return found;
      const known = [...this.adapters.keys()].join(", ") || "none";
      throw new HeddleError(
        "NOT_FOUND",
        `adapter: expected an adapter of this model (${known}), got ${describe(name)}`,
      );
    });
  }

  /** Checks that the model is not disposed. @throws HeddleError DISPOSED */
  assertLive(): void {
    if (!this.life.live) throw new HeddleError("DISPOSED", "model: used after dispose()");
  }
}

/** A snapshot of a model. Its tensors stay until it is released. @internal */
export class HeldModel extends ModelView {
  private readonly version: number;
  private readonly names: readonly string[] | undefined;
  private held = true;

  constructor(
    state: ModelState,
    life: ModelLife,
    { version, adapters }: { version: number; adapters?: readonly string[] | undefined },
    traits: ModelTraits,
  ) {
    super(state, life, traits);
    this.version = version;
    this.names = adapters;
  }

  override get activeAdapters(): readonly string[] {
    return this.names ?? super.activeAdapters;
  }

  override hold(adapters = this.names): HeldModel {
    return super.hold(adapters);
  }

  get weightsVersion(): number {
    return this.version;
  }

  release(): void {
    if (!this.held) return;
    this.held = false;
    this.state.release();
  }
}

/**
 * Runs `work` with the weights and adapters as they are now, even if the work must wait for other calls.
 * @param adapters as for `hold` @internal
 */
export async function holding<T>(
  model: ModelView,
  work: (held: ModelView) => Promise<T>,
  adapters?: readonly string[],
): Promise<T> {
  const held = model.hold(adapters);
  try {
    return await work(held);
  } finally {
    held.release();
  }
}
