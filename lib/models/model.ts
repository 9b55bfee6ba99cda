import { checkSeed, describe, HeddleError } from "../core/errors.ts";
import {
  type ClassifierConfig,
  type ClassifierConfigInput,
  type EmbeddingConfig,
  type ModelConfig,
  parseModelConfig,
} from "../formats/config/config.ts";
import { type Device, type QuantizedActivations, Tensor } from "../graph/index.ts";
import { type Adapter, adapterTensors, checkAdapter, checkAdapterName, newAdapter } from "./adapters/adapters.ts";
import { linearLayers } from "./adapters/linear-layers.ts";
import { type LoraOptions, parseLora } from "./adapters/lora.ts";
import { mergedWeights } from "./adapters/merge.ts";
import { embeddingLayerWeights } from "./embedding-layers.ts";
import { shapeOf } from "./family.ts";
import { languageHead, modelWeights } from "./heads.ts";
import { type DrawOptions, drawWeights, initialWeights, newWeight } from "./initialize.ts";
import { dequantized, dequantizedShape, scaleName, storedName, weightOfStored } from "./loading/dequantize.ts";
import { claimWeights, needUnclaimed } from "./model-claims.ts";
import { ModelState, type StateFields } from "./model-state.ts";
import { ModelView } from "./model-view.ts";
import { familyOf } from "./registry.ts";

/** An earlier state of a model. @internal */
export class ModelMark {
  readonly state: ModelState;

  constructor(state: ModelState) {
    this.state = state;
  }

  is(other: ModelMark): boolean {
    return other.state === this.state;
  }

  release(): void {
    this.state.release();
  }
}

interface ModelOptions {
  /** See `Model.quantizedActivations`. Default int8. */
  quantizedActivations?: QuantizedActivations | undefined;
  /** See `Model.temperature`. Default 1. */
  temperature?: number | undefined;
}

/**
 * A Transformer: a configuration and its weights on a device, without text or tokenizer. Running calls keep the weights and adapters that
 * they began with when adapters are merged, removed or activated. Sessions and chats use the changed model from their next call on. A
 * training step writes weights in place, and running calls see it from their next run on.
 */
export class Model extends ModelView {
  private constructor(
    config: ModelConfig,
    device: Device,
    tensors: ReadonlyMap<string, Tensor>,
    { quantizedActivations = "int8", temperature = 1 }: ModelOptions = {},
  ) {
    const fields = { config, tensors, unmerged: new Map(), adapters: new Map(), active: [], merged: [] };
    const state = new ModelState({ ...fields, programs: new Map() });
    const family = familyOf(config.modelType);
    super(state, { live: true, version: 0 }, { family, device, quantizedActivations, temperature });
  }

  /** Changes to a new state. Compiled programs are dropped unless `changes` includes `programs`. */
  private change({ programs = new Map(), ...changes }: Partial<StateFields>): void {
    const before = this.state;
    this.state = new ModelState({ ...before, ...changes, programs });
    before.release();
  }

  /** Marks the model's current state, which is kept until the mark is released or restored. @internal */
  mark(): ModelMark {
    return new ModelMark(this.state.retain());
  }

  /**
   * Restores the mark `to`, if the model has not changed since the mark `after`.
   * @returns whether `to` was restored; the model then owns it @internal
   */
  goBack(to: ModelMark, after: ModelMark): boolean {
    const { state } = this;
    if (!this.life.live || after.state !== state) return false;
    this.state = to.state;
    state.release();
    this.weightsChanged();
    return true;
  }

  /**
   * Makes a model from given weights.
   * @throws HeddleError NOT_FOUND for a missing weight, SHAPE_MISMATCH for one of another shape
   */
  static async fromWeights(
    config: ModelConfig,
    device: Device,
    weights: ReadonlyMap<string, Tensor>,
    options: ModelOptions = {},
  ): Promise<Model> {
    const make = (tensors: Map<string, Tensor>) => new Model(config, device, tensors, options);
    const { model, written } = assemble(config, device, weights, make);
    // Do not wait for the constants: the lane writes them before later work on the model. It copies the weights first,
    // which takes long, and programs can be compiled meanwhile. A write fails only if the device has failed or the
    // JavaScript environment is closing, as in `create`.
    written.catch(() => {});
    return model;
  }

  /** Makes a model with random f32 weights. The device's lane writes them before later work. */
  static create(config: ModelConfig, device: Device, seed = 0): Model {
    checkSeed(seed);
    const { weights, written } = initialWeights(config, device, seed);
    const made = assemble(config, device, weights, (tensors) => new Model(config, device, tensors));
    // A write fails only if the device has failed or the JavaScript environment is closing. Every later call on the model
    // then fails too.
    Promise.all([written, made.written]).catch(() => {});
    return made.model;
  }

  /** Like `create`, but without blocking the event loop. Resolves when the weights are written. */
  static async initialize(config: ModelConfig, device: Device, seed = 0, options: DrawOptions = {}): Promise<Model> {
    checkSeed(seed);
    return Model.fromWeights(config, device, await drawWeights(config, device, seed, options));
  }

  /**
   * Adds a classification head with random weights. It replaces the language-modeling head, as in transformers'
   * classes. A tied language-modeling head always stays, and an untied one stays with `keepLanguageHead`. In both
   * cases the model can still generate. An existing head of the same task and labels is kept.
   */
  async addClassifier(
    classifier: ClassifierConfigInput,
    { seed = 0, keepLanguageHead = false }: { seed?: number | undefined; keepLanguageHead?: boolean | undefined } = {},
  ): Promise<void> {
    checkSeed(seed);
    const { architectures: _, classifier: before, ...rest } = this.config;
    const config = parseModelConfig({ ...rest, classifier });
    const same = before && sameHead(before, config.classifier!);
    if (before && !same)
      this.remove([...modelWeights(this.config).keys()].filter((name) => !modelWeights(rest).has(name)));
    await this.reconfigure(config, seed);
    if (!keepLanguageHead) this.remove(languageHead(config));
  }

  /** Sets the temperature of a classifier's probabilities. */
  setClassifierTemperature(temperature: number | undefined): void {
    const { classifier, ...rest } = this.config;
    if (!classifier)
      throw new HeddleError(
        "UNSUPPORTED",
        "classifier: expected a model with a classification head, got a model without a head",
      );
    const { temperature: _, ...head } = classifier;
    this.change({
      config: parseModelConfig({ ...rest, classifier: temperature === undefined ? head : { ...head, temperature } }),
      programs: this.state.programs,
    });
  }

  /**
   * Sets how the model's hidden states become one vector per text.
   * @throws HeddleError INVALID_ARGUMENT if the layers after pooling differ from the model's, because they have weights
   */
  setEmbedding(embedding: EmbeddingConfig): void {
    const config = parseModelConfig({ ...this.config, embedding });
    const layersOf = (of: ModelConfig) =>
      JSON.stringify([of.embedding?.layers ?? [], ...[...embeddingLayerWeights(of)].map(([, { shape }]) => shape)]);
    if (layersOf(config) !== layersOf(this.config))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        "embedding.layers: expected the model's layers and a pooling that fits their input width, got other layers or another width",
      );
    this.change({ config, programs: this.state.programs });
  }

  /** Adds a value head with random weights, which outputs one number per token. */
  async addValueHead({ seed = 0 }: { seed?: number | undefined } = {}): Promise<void> {
    await this.reconfigure({ ...this.config, valueHead: true }, seed);
  }

  /** Sets a configuration with further heads, and initializes missing weights. */
  private async reconfigure(config: ModelConfig, seed: number): Promise<void> {
    checkSeed(seed);
    this.assertLive();
    const writes: Promise<unknown>[] = [];
    const tensors = new Map(this.tensors);
    for (const [name, spec] of modelWeights(config)) {
      if (this.has(name) || spec.optional) continue;
      const { tensor, written } = newWeight(this.device, name, spec, config, seed);
      writes.push(written);
      tensors.set(name, tensor);
    }
    this.change({ config, tensors });
    await Promise.all(writes);
  }

  private remove(names: readonly string[]): void {
    const tensors = new Map(this.tensors);
    for (const name of names) tensors.delete(name);
    this.change({ tensors });
  }

  /**
   * Makes the named weights writable f32 tensors for training. Mapped, 16-bit and quantized weights are copied and converted. Compiled
   * programs are dropped. Running calls keep the weights they began with.
   */
  async prepareForTraining(names: readonly string[]): Promise<void> {
    if (names.some((name) => this.state.unmerged.has(name))) this.settleMerged();
    const specs = modelWeights(this.config);
    for (const name of names) {
      const stored = this.weight(name);
      if (stored.dtype === "f32" && stored.writable) continue;
      const spec = specs.get(name);
      const shape = dequantizedShape(stored, spec);
      const wide = await Tensor.fromOwn(this.device, "f32", shape, await dequantized(stored, spec));
      const tensors = new Map(this.tensors);
      for (const gone of [storedName(name), ...(stored.scale ? [scaleName(name)] : [])]) tensors.delete(gone);
      this.change({ tensors: tensors.set(name, wide) });
      this.weightsChanged();
    }
  }

  /** @internal */
  get weightsVersion(): number {
    return this.life.version;
  }

  /** Records that the values of weights, or of an adapter, have changed. @internal */
  weightsChanged(): void {
    this.life.version++;
  }

  /** Sets the adapters that apply by default. @throws HeddleError NOT_FOUND for an unknown adapter */
  setActiveAdapters(names: readonly string[]): void {
    this.adaptersOf(names);
    this.change({ active: [...new Set(names)], programs: this.state.programs });
  }

  /**
   * Adds a new LoRA adapter and activates it in addition to the active ones. It does not change outputs until it is
   * trained.
   * @throws HeddleError INVALID_ARGUMENT for an invalid option, a target that matches no layer, or an existing
   * adapter's name
   */
  async addAdapter(name: string, options: LoraOptions = {}, seed = 0): Promise<Adapter> {
    checkSeed(seed);
    this.assertLive();
    const config = parseLora(options);
    const { adapter, tensors } = await newAdapter(this.freeName(name), config, linearLayers(this), this, seed);
    this.adoptAdapter(adapter, tensors);
    return adapter;
  }

  /** Adds an adapter with given tensors and activates it. @throws HeddleError INVALID_FILE if a tensor does not fit */
  adoptAdapter(adapter: Adapter, tensors: ReadonlyMap<string, Tensor>): void {
    this.assertLive();
    this.freeName(adapter.name);
    checkAdapter(adapter, tensors, linearLayers(this), new Map(this.weightNames.map((n) => [n, this.asStored(n)])));
    this.change({
      tensors: new Map([
        ...this.tensors,
        ...adapterTensors(adapter).map((name) => [name, tensors.get(name)!] as const),
      ]),
      adapters: new Map([...this.adapters, [adapter.name, adapter]]),
      active: [...this.activeAdapters, adapter.name],
      programs: this.state.programs,
    });
  }

  /**
   * Removes an adapter and frees its tensors after running calls that use it have ended.
   * @throws HeddleError NOT_FOUND; INVALID_ARGUMENT if the adapter is merged, or being merged or trained
   */
  removeAdapter(name: string): void {
    const [adapter] = this.adaptersOf([name]);
    needUnclaimed(this, adapterTensors(adapter!));
    this.takeOff(name);
  }

  private takeOff(name: string): void {
    const tensors = new Map(this.tensors);
    const adapters = new Map(this.adapters);
    for (const t of adapterTensors(adapters.get(name)!)) tensors.delete(t);
    adapters.delete(name);
    // This drops the programs, because a later adapter of this name may have other layers.
    this.change({ tensors, adapters, active: this.activeAdapters.filter((n) => n !== name) });
    this.weightsChanged();
  }

  /**
   * Adds an adapter's update to the weights, so that applying it costs nothing. The adapter is then inactive. The
   * previous weights are kept for `unmergeAdapters`. Outputs agree within the rounding of the weights' type. Quantized
   * weights that the adapter changes become f32. Running calls keep the previous weights.
   * @throws HeddleError NOT_FOUND; INVALID_ARGUMENT if the adapter is merged already, or if a run trains the adapter or
   * weights that it changes, or another merge uses them
   */
  async mergeAdapter(name: string): Promise<void> {
    const [adapter] = this.adaptersOf([name]);
    const release = claimWeights(this, [...adapterTensors(adapter!), ...weightsUnder(adapter!)], "merge");
    try {
      await this.mergeIn(adapter!);
    } finally {
      release();
    }
  }

  private async mergeIn(adapter: Adapter): Promise<void> {
    const changed = await mergedWeights(this, adapter);
    const [tensors, unmerged] = [new Map(this.tensors), new Map(this.state.unmerged)];
    for (const [weight, tensor] of changed) {
      if (!unmerged.has(weight)) unmerged.set(weight, this.weight(weight));
      tensors.delete(storedName(weight));
      tensors.set(weight, tensor);
    }
    const { name } = adapter;
    const active = this.activeAdapters.filter((n) => n !== name);
    this.change({ tensors, unmerged, active, merged: [...this.mergedAdapters, name] });
    this.weightsChanged();
  }

  /**
   * Restores the exact weights from before `mergeAdapter`, and activates the merged adapters again. Running calls keep
   * the merged weights.
   * @throws HeddleError INVALID_ARGUMENT if one of the merged weights is being trained or merged
   */
  unmergeAdapters(): void {
    const { unmerged, active, merged } = this.state;
    needUnclaimed(this, [...unmerged.keys()]);
    const tensors = new Map([...this.tensors, ...unmerged]);
    this.change({ tensors, unmerged: new Map(), active: [...active, ...merged], merged: [] });
    this.weightsChanged();
  }

  /**
   * Adds the active adapters' updates to the weights permanently, and removes the adapters. The weights become f32, so
   * that nothing is rounded away. Training can then continue with the full weights. Outputs do not change.
   */
  async absorbAdapters(): Promise<void> {
    const adapters = this.adaptersOf();
    if (adapters.length === 0) return;
    await this.prepareForTraining(adapters.flatMap(({ layers }) => [...layers.keys()].map((name) => `${name}.weight`)));
    for (const adapter of adapters) await this.mergeIn(adapter);
    this.settleMerged();
  }

  /** Makes merged updates permanent, because the weights are about to be trained. */
  private settleMerged(): void {
    const { merged } = this.state;
    this.change({ unmerged: new Map(), merged: [] });
    for (const name of merged) this.takeOff(name);
  }

  private freeName(name: string): string {
    if (!this.adapters.has(checkAdapterName(name))) return name;
    throw new HeddleError("INVALID_ARGUMENT", `adapter: expected a name that is free, got ${describe(name)}`);
  }

  /** Frees the weights. A session keeps them until it is disposed too. */
  dispose(): void {
    if (!this.life.live) return;
    this.life.live = false;
    this.state.disposeIdle();
    for (const t of this.state.all()) t.dispose();
    this.state.programs.clear();
  }
}

/** Returns the names of the weights that merging an adapter changes. */
function weightsUnder({ layers, saved }: Adapter): string[] {
  return [...[...layers.keys()].map((layer) => `${layer}.weight`), ...saved.keys()];
}

function sameHead(a: ClassifierConfig, b: ClassifierConfig): boolean {
  return a.task === b.task && JSON.stringify(a.labels) === JSON.stringify(b.labels);
}

/** Checks the weights against the family and adds its constants. */
function assemble(
  config: ModelConfig,
  device: Device,
  weights: ReadonlyMap<string, Tensor>,
  make: (tensors: Map<string, Tensor>) => Model,
): { model: Model; written: Promise<unknown> } {
  const family = familyOf(config.modelType);
  for (const [name, spec] of modelWeights(config)) {
    const t = weights.get(name) ?? weights.get(storedName(name));
    if (!t && spec.optional) continue;
    if (!t) throw new HeddleError("NOT_FOUND", `${config.modelType}: expected a weight ${name}, got none`);
    const shape = shapeOf(spec, t.dtype);
    if (t.shape.length !== shape.length || t.shape.some((d, i) => d !== shape[i]))
      throw new HeddleError("SHAPE_MISMATCH", `${name}: expected (${shape.join(", ")}), got (${t.shape.join(", ")})`);
  }
  const tensors = new Map<string, Tensor>();
  for (const [given, t] of weights) {
    const name = weightOfStored(given); // removes the prefix of `storedName`, which another model's tensors may have
    // Leave out a tensor with rows in the file's order if the weights also have a copy in transformers' order.
    if (!t.rowOrder) tensors.set(name, t);
    else if (!weights.get(name) || given === name) tensors.set(storedName(name), t);
  }
  const writes: Promise<void>[] = [];
  for (const [name, data] of family.constants(config)) {
    const constant = Tensor.zeros(device, "f32", [data.length]);
    writes.push(constant.write(data));
    tensors.set(`constant.${name}`, constant);
  }
  return { model: make(tensors), written: Promise.all(writes) };
}
