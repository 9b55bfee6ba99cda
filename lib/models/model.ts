import { describe, HeddleError, invalidArgument } from "../errors.ts";
import {
  type ClassifierConfig,
  type ClassifierConfigInput,
  type EmbeddingConfig,
  type ModelConfig,
  parseModelConfig,
} from "../formats/config.ts";
import { nearest } from "../formats/nearest.ts";
import { type Device, type QuantizedActivations, Tensor } from "../graph/index.ts";
import { type Adapter, adapterTensors, checkAdapter, checkAdapterName, newAdapter } from "./adapters.ts";
import { type Family, shapeOf } from "./family.ts";
import { headNames, modelWeights } from "./heads.ts";
import { type DrawOptions, drawWeights, initialWeights, newWeight } from "./initialise.ts";
import { linearLayers } from "./linear-layers.ts";
import { type LoraOptions, parseLora } from "./lora.ts";
import { mergedWeights } from "./merge.ts";
import { familyOf } from "./registry.ts";
import { scaleName, storedName, weightOfStored, widened, widenedShape } from "./widen.ts";

export interface ModelOptions {
  /** See `Model.quantizedActivations`. Default int8. */
  quantizedActivations?: QuantizedActivations | undefined;
  /** See `Model.temperature`. Default 1. */
  temperature?: number | undefined;
}

/** A Transformer: a configuration and its weights on a device. It holds no text, no tokenizer and no conversation. */
export class Model {
  private current: ModelConfig;
  readonly family: Family;
  readonly device: Device;
  /** How activations meet quantised and bf16 weights when text is generated; training always takes them as they are. */
  readonly quantizedActivations: QuantizedActivations;
  /** Logits are divided by it, after their soft cap: what a sampler at temperature 1 then draws from. */
  readonly temperature: number;
  private readonly all: Map<string, Tensor>;
  private readonly programs = new Map<string, unknown>();
  private readonly adapterMap = new Map<string, Adapter>();
  private active: readonly string[] = [];
  private readonly merged: string[] = [];
  /** Weights as they were before adapters were merged into them. */
  private readonly unmerged = new Map<string, Tensor>();
  private live = true;
  private version = 0;

  private constructor(
    config: ModelConfig,
    device: Device,
    tensors: Map<string, Tensor>,
    { quantizedActivations = "int8", temperature = 1 }: ModelOptions = {},
  ) {
    this.current = config;
    this.family = familyOf(config.modelType);
    this.device = device;
    this.all = tensors;
    this.quantizedActivations = quantizedActivations;
    this.temperature = temperature;
  }

  /**
   * A model over given weights.
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
    // The lane writes the family's constants before anything else that is asked of the model, behind copies of weights that take long:
    // programs are compiled meanwhile. As in `create`, a write can only fail with the whole environment.
    written.catch(() => {});
    return model;
  }

  /** A model with random weights (f32). Its lane writes them before anything else that is asked of it. */
  static create(config: ModelConfig, device: Device, seed = 0): Model {
    const { weights, written } = initialWeights(config, device, seed);
    const made = assemble(config, device, weights, (tensors) => new Model(config, device, tensors));
    // A write can only fail with the whole environment, and then every later call on the model fails as well.
    Promise.all([written, made.written]).catch(() => {});
    return made.model;
  }

  /** The same, while the event loop goes on. Resolves when the weights are written. */
  static async initialise(config: ModelConfig, device: Device, seed = 0, options: DrawOptions = {}): Promise<Model> {
    return Model.fromWeights(config, device, await drawWeights(config, device, seed, options));
  }

  get config(): ModelConfig {
    return this.current;
  }

  /** Names of the weights, in a checkpoint's order. */
  get weightNames(): string[] {
    return [...modelWeights(this.config).keys()].filter((n) => this.has(n));
  }

  /** Names of the weights that logits of tokens depend on: all but other heads. */
  get languageWeightNames(): string[] {
    const heads = new Set(headNames(this.config));
    return this.weightNames.filter((name) => !heads.has(name));
  }

  /**
   * Weights by Hugging Face name, adapters' tensors, and the family's constants as `constant.<name>`; under `storedName` those whose rows
   * lie in another order, which have their own name only once `weight` was asked for them.
   */
  get tensors(): ReadonlyMap<string, Tensor> {
    return this.all;
  }

  /** A weight, an adapter's tensor or a constant by name, its rows in order. @throws HeddleError NOT_FOUND, DISPOSED */
  weight(name: string): Tensor {
    this.assertLive();
    const t = this.all.get(name) ?? this.all.get(storedName(name))?.ordered(this.device);
    if (!t) {
      const near = typeof name === "string" ? nearest(name, this.all.keys()) : undefined;
      const known = `one of ${this.config.modelType}${near === undefined ? "" : ` (nearest: ${near})`}`;
      throw new HeddleError("NOT_FOUND", `weight: expected ${known}, got ${describe(name)}`);
    }
    this.all.set(name, t);
    return t;
  }

  /** Whether there is such a weight. */
  has(name: string): boolean {
    return this.all.has(name) || this.all.has(storedName(name));
  }

  /**
   * The weight as it was loaded: its rows may lie in another order (`Tensor.rowOrder`), which a pass that minds it reads without a copy. Also
   * for its type and shape.
   * @throws HeddleError NOT_FOUND, DISPOSED
   */
  asStored(name: string): Tensor {
    this.assertLive();
    return this.all.get(storedName(name)) ?? this.weight(name);
  }

  /** Another tensor from now on. */
  private replace(name: string, tensor: Tensor): void {
    this.remove(storedName(name));
    this.all.set(name, tensor);
  }

  /** For their types and shapes. */
  private get weights(): Map<string, Tensor> {
    return new Map(this.weightNames.map((name) => [name, this.asStored(name)]));
  }

  /** Number of parameters; tied ones count once. */
  get parameterCount(): number {
    return this.weightNames.reduce((n, name) => n + this.asStored(name).elements, 0);
  }
  /** Bytes of the weights as they lie in memory or in the mapped file. */
  get weightBytes(): number {
    return this.weightNames.reduce((n, name) => n + this.asStored(name).bytes, 0);
  }

  /** A program made once for this model under `key`: programs are traced and planned once, then run many times. */
  cached<T>(key: string, make: () => T): T {
    this.assertLive();
    let found = this.programs.get(key) as T | undefined;
    if (found === undefined) {
      found = make();
      this.programs.set(key, found);
    }
    return found;
  }

  /**
   * Gives the trunk a classification head with random weights. It takes the place of the language-modelling head, as in
   * transformers' classes; with `keepLanguageHead` an untied one stays too (a tied one always does), and the model still generates.
   * A head of the same task and labels stays as it is.
   */
  async addClassifier(
    classifier: ClassifierConfigInput,
    { seed = 0, keepLanguageHead = false }: { seed?: number; keepLanguageHead?: boolean } = {},
  ): Promise<void> {
    const { architectures: _, classifier: before, ...rest } = this.config;
    const config = parseModelConfig({ ...rest, classifier });
    const same = before && sameHead(before, config.classifier!);
    if (before && !same)
      for (const name of modelWeights(this.config).keys()) if (!modelWeights(rest).has(name)) this.remove(name);
    await this.reconfigure(config, seed);
    const head = this.family.head(config).weight;
    if (!keepLanguageHead && modelWeights(config).get(head)?.optional) this.remove(head);
  }

  /** Changes how a classifier's logits become probabilities: its temperature. */
  setClassifierTemperature(temperature: number | undefined): void {
    const { classifier, ...rest } = this.config;
    if (!classifier) throw new HeddleError("UNSUPPORTED", "classifier: expected a model with one, got one without");
    const { temperature: _, ...head } = classifier;
    this.current = parseModelConfig({
      ...rest,
      classifier: temperature === undefined ? head : { ...head, temperature },
    });
  }

  /** Says how the model's hidden states are made one vector a text. */
  setEmbedding(embedding: EmbeddingConfig): void {
    this.current = parseModelConfig({ ...this.config, embedding });
  }

  /** Gives the trunk a value head with random weights: a number a token, beside the language-modelling head. */
  async addValueHead({ seed = 0 }: { seed?: number } = {}): Promise<void> {
    await this.reconfigure({ ...this.config, valueHead: true }, seed);
  }

  /** Takes a configuration with further heads, and draws the weights that are not there yet. */
  private async reconfigure(config: ModelConfig, seed: number): Promise<void> {
    this.assertLive();
    const writes: Promise<unknown>[] = [];
    for (const [name, spec] of modelWeights(config)) {
      if (this.has(name) || spec.optional) continue;
      const { tensor, written } = newWeight(this.device, name, spec, config, seed);
      writes.push(written);
      this.all.set(name, tensor);
    }
    this.current = config;
    this.programs.clear();
    await Promise.all(writes);
  }

  private remove(name: string): void {
    this.all.get(name)?.dispose();
    this.all.delete(name);
  }

  /**
   * Makes the named weights writable f32 tensors, as training needs them: mapped, 16-bit and quantised ones are copied and widened.
   * Programs made before are forgotten; sessions opened before keep the old weights.
   */
  async prepareForTraining(names: readonly string[]): Promise<void> {
    if (names.some((name) => this.unmerged.has(name))) this.settleMerged();
    const specs = modelWeights(this.config);
    for (const name of names) {
      const stored = this.weight(name);
      if (stored.dtype === "f32" && stored.writable) continue;
      const spec = specs.get(name);
      const shape = widenedShape(stored, spec);
      this.replace(name, await Tensor.fromOwn(this.device, "f32", shape, await widened(stored, spec)));
      stored.dispose();
      if (stored.scale) this.remove(scaleName(name));
      this.programs.clear();
      this.weightsChanged();
    }
  }

  /** How often its weights, or an adapter's, have become others: keys and values from before do not go with those after. @internal */
  get weightsVersion(): number {
    return this.version;
  }

  /** Says that weights, or an adapter's, hold other numbers now. @internal */
  weightsChanged(): void {
    this.version++;
  }

  /** The adapters on this model, by name. */
  get adapters(): ReadonlyMap<string, Adapter> {
    return this.adapterMap;
  }

  /** Names of the adapters that take part where a call does not say; their updates add up. */
  get activeAdapters(): readonly string[] {
    return this.active;
  }

  /** @throws HeddleError NOT_FOUND for a name that is no adapter's */
  setActiveAdapters(names: readonly string[]): void {
    this.adaptersOf(names);
    this.active = [...new Set(names)];
  }

  /** Adapters by name; the active ones where `names` is not given. @throws HeddleError NOT_FOUND */
  adaptersOf(names: readonly string[] = this.active): Adapter[] {
    if (!Array.isArray(names)) throw invalidArgument("adapters", "an array of adapters' names", names);
    return [...new Set(names)].map((name) => {
      if (this.merged.includes(name))
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `adapter: expected one that is not merged into the weights, got ${name}`,
        );
      const found = this.adapterMap.get(name);
      if (found) return found;
      const known = [...this.adapterMap.keys()].join(", ") || "none";
      throw new HeddleError("NOT_FOUND", `adapter: expected one of this model's (${known}), got ${describe(name)}`);
    });
  }

  /**
   * Puts a new LoRA adapter on the model, and makes it active beside those that are. It changes no output before it is trained.
   * @throws HeddleError INVALID_ARGUMENT for an option, a target without a layer, or a name that is taken
   */
  async addAdapter(name: string, options: LoraOptions = {}, seed = 0): Promise<Adapter> {
    this.assertLive();
    const config = parseLora(options);
    const { adapter, tensors } = await newAdapter(this.freeName(name), config, linearLayers(this), this, seed);
    this.adoptAdapter(adapter, tensors);
    return adapter;
  }

  /** Puts an adapter with given tensors on the model, and makes it active. @throws HeddleError INVALID_FILE where one does not fit */
  adoptAdapter(adapter: Adapter, tensors: ReadonlyMap<string, Tensor>): void {
    this.assertLive();
    this.freeName(adapter.name);
    checkAdapter(adapter, tensors, linearLayers(this), this.weights);
    for (const name of adapterTensors(adapter)) this.all.set(name, tensors.get(name)!);
    this.adapterMap.set(adapter.name, adapter);
    this.active = [...this.active, adapter.name];
  }

  /** Takes an adapter off and frees its tensors; sessions that use it keep them until they are disposed. */
  removeAdapter(name: string): void {
    const [adapter] = this.adaptersOf([name]);
    for (const t of adapterTensors(adapter!)) {
      this.all.get(t)!.dispose();
      this.all.delete(t);
    }
    this.adapterMap.delete(name);
    this.active = this.active.filter((n) => n !== name);
    this.programs.clear(); // an adapter of the same name may have other layers
    this.weightsChanged();
  }

  /**
   * Adds an adapter's update into the weights, so that it costs nothing more; it is then no longer active. The weights
   * before it are kept for `unmergeAdapters`. Merged equals unmerged within the rounding of the weights' type; quantised weights
   * that it changes become f32.
   * Sessions opened before keep the old weights.
   * @throws HeddleError NOT_FOUND
   */
  async mergeAdapter(name: string): Promise<void> {
    const [adapter] = this.adaptersOf([name]);
    const changed = await mergedWeights(this, adapter!);
    for (const [weight, tensor] of changed) {
      const before = this.all.get(weight)!;
      if (this.unmerged.has(weight)) before.dispose();
      else this.unmerged.set(weight, before);
      this.replace(weight, tensor);
    }
    this.merged.push(name);
    this.active = this.active.filter((n) => n !== name);
    this.programs.clear();
    this.weightsChanged();
  }

  /** Puts back the weights from before `mergeAdapter`, to the byte, and makes the merged adapters active again. */
  unmergeAdapters(): void {
    for (const [weight, before] of this.unmerged) {
      this.all.get(weight)!.dispose();
      this.all.set(weight, before);
    }
    this.unmerged.clear();
    this.active = [...this.active, ...this.merged.splice(0)];
    this.programs.clear();
    this.weightsChanged();
  }

  /**
   * Adds the active adapters' updates into the weights for good, in f32, so that nothing of them is rounded away: for training that goes
   * on with the weights themselves. The adapters are gone then; the model computes what it did.
   */
  async absorbAdapters(): Promise<void> {
    const adapters = this.adaptersOf();
    if (adapters.length === 0) return;
    await this.prepareForTraining(adapters.flatMap(({ layers }) => [...layers.keys()].map((name) => `${name}.weight`)));
    for (const { name } of adapters) await this.mergeAdapter(name);
    this.settleMerged();
  }

  /** Weights that are trained on have the merged updates in them for good. */
  private settleMerged(): void {
    for (const before of this.unmerged.values()) before.dispose();
    this.unmerged.clear();
    for (const name of this.merged.splice(0)) this.removeAdapter(name);
  }

  /** Adapters whose updates are in the weights. */
  get mergedAdapters(): readonly string[] {
    return this.merged;
  }

  private freeName(name: string): string {
    if (!this.adapterMap.has(checkAdapterName(name))) return name;
    throw new HeddleError("INVALID_ARGUMENT", `adapter: expected a name that is free, got ${describe(name)}`);
  }

  assertLive(): void {
    if (!this.live) throw new HeddleError("DISPOSED", "model: expected a live model, got a disposed one");
  }

  /** Frees the weights. What is bound to them (sessions) keeps them until it is disposed too. */
  dispose(): void {
    if (!this.live) return;
    this.live = false;
    for (const t of [...this.all.values(), ...this.unmerged.values()]) t.dispose();
    this.programs.clear();
  }
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
    const name = weightOfStored(given); // of another model's tensors
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
