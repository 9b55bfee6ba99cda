// A base model of a server, with its adapters. The server loads and unloads it, unless the caller has loaded it.
import { aborted, HeddleError } from "../../core/errors.ts";
import { SharedScheduler } from "../../inference/shared-scheduler.ts";
import type { LanguageModel, LoadOptions } from "../../language-model/index.ts";
import { isEncoder } from "../../models/family.ts";
import { type CheckedSource, fileBytes } from "./model-source.ts";
import type { Load, Served } from "./models.ts";

/** Loads a model. */
export type Loader = (path: string, options: LoadOptions) => Promise<LanguageModel>;

/** Options of a BaseModel. */
interface BaseOptions {
  slots: number;
  deterministic: boolean;
  load: Loader;
}

/**
 * A model's weights and the schedulers that run on them. Each adapter has its own scheduler, because a forward pass uses one set of
 * weights.
 */
export class BaseModel {
  readonly name: string;
  readonly adapterNames: readonly string[];
  /** Number of requests that use the model or wait for it. It stays loaded while there are any. */
  users = 0;
  /** Order of the last use: a counter's value when the last request ended. */
  lastUse = 0;
  /**
   * Size of the weights in bytes. Before the first load it is the size of the files, afterwards that of the tensors. Undefined if unknown.
   */
  private size: number | undefined;
  private readonly source: CheckedSource;
  private readonly options: BaseOptions;
  private loading: Promise<LanguageModel> | undefined;
  private model: LanguageModel | undefined;
  /** The adapters that apply to requests for the base. Undefined: those that are active when a call runs. */
  private active: readonly string[] | undefined;
  /** The base and its adapters by name, if they are open. */
  private readonly served = new Map<string, Served>();
  /** The base and its adapters by name, while they are being opened. */
  private readonly opening = new Map<string, Promise<Served>>();
  /** Names of the loaded adapters in the model, by their names in requests. */
  private readonly ownNames = new Map<string, string>();
  /** Number of tokens generated before the last unloading. */
  private tokens = 0;

  constructor(source: CheckedSource, options: BaseOptions) {
    this.name = source.name;
    this.adapterNames = [...source.adapters.keys()];
    this.source = source;
    this.options = options;
    const { from } = source;
    if (!("model" in from)) return;
    from.model.model.assertLive();
    this.adopt(from.model);
    this.serve(this.name, from.model);
  }

  /** Whether the server loads and unloads the model. */
  get isOwned(): boolean {
    return "path" in this.source.from;
  }

  /** The path that the server loads, and the options for it. Undefined if the caller has loaded the model. */
  get files(): { path: string; load: LoadOptions } | undefined {
    const { from } = this.source;
    return "path" in from ? from : undefined;
  }

  get isLoaded(): boolean {
    return this.model !== undefined;
  }

  /** The model, if it is loaded. */
  get loadedModel(): LanguageModel | undefined {
    return this.model;
  }

  /** Whether the weights may be unloaded. */
  get isIdle(): boolean {
    return this.isOwned && this.isLoaded && this.users === 0 && this.opening.size === 0;
  }

  /** Whether the weights take memory, or will soon. */
  get takesMemory(): boolean {
    return this.model !== undefined || this.loading !== undefined;
  }

  /** Number of bytes that the weights take, as far as is known. */
  get bytes(): number {
    return this.size ?? 0;
  }

  /** Number of bytes that loading will take. */
  async neededBytes(): Promise<number> {
    const { from } = this.source;
    if ("path" in from) this.size ??= await fileBytes(from.path);
    return this.bytes;
  }

  /** Current load of the base and its adapters, by name. Only open ones are listed. */
  get loads(): ReadonlyMap<string, Load> {
    return new Map(
      [...this.served].map(([name, { scheduler }]) => [
        name,
        scheduler ? { ...scheduler.counts, cacheUsage: scheduler.cacheUsage } : NO_LOAD,
      ]),
    );
  }

  /** Number of tokens that were generated before the last unloading. */
  get pastTokens(): number {
    return this.tokens;
  }

  /** Starts to load the model, unless it is loaded or loading. `takesMemory` is true from now on. `open` reports a failure to the requests. */
  begin(signal: AbortSignal): void {
    const { from } = this.source;
    if (this.model || this.loading || !("path" in from)) return;
    this.loading = this.loaded(from.path, { ...from.load, signal }).finally(() => {
      this.loading = undefined;
    });
    this.loading.catch(() => {});
  }

  private async loaded(path: string, options: LoadOptions): Promise<LanguageModel> {
    const model = await this.options.load(path, options);
    // The server may have been closed meanwhile.
    if (options.signal?.aborted) {
      await model.dispose();
      throw aborted(options.signal);
    }
    this.adopt(model);
    return model;
  }

  /** Returns the base or one of its adapters, once it is loaded. Concurrent calls load once. @throws HeddleError as loading does */
  open(name: string, signal: AbortSignal): Promise<Served> {
    const known = this.served.get(name);
    if (known) return Promise.resolve(known);
    let opening = this.opening.get(name);
    if (!opening) {
      opening = this.opened(name, signal).finally(() => this.opening.delete(name));
      this.opening.set(name, opening);
    }
    return opening;
  }

  private async opened(name: string, signal: AbortSignal): Promise<Served> {
    this.begin(signal);
    const model = this.model ?? (await this.loading!);
    const folder = this.source.adapters.get(name);
    if (folder === undefined) return this.serve(name, model);
    const own = unusedName(model);
    await model.loadAdapter(folder, { name: own });
    this.ownNames.set(name, own);
    // Loading has activated the adapter, so deactivate it, and keep what the caller or another request has changed meanwhile.
    model.setActiveAdapters(model.model.activeAdapters.filter((active) => active !== own));
    this.measure(model);
    return this.serve(name, model, [...this.active!, own]);
  }

  private adopt(model: LanguageModel): void {
    this.model = model;
    // Loading an adapter activates it for a moment, so a base with adapters stores those that were active before.
    this.active = this.adapterNames.length > 0 ? model.model.activeAdapters : undefined;
    this.measure(model);
  }

  private measure({ model }: LanguageModel): void {
    this.size = [...model.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  private serve(name: string, model: LanguageModel, adapters = this.active): Served {
    const { slots, deterministic } = this.options;
    const known = this.served.get(name);
    if (known) return known;
    const scheduler = isEncoder(model.model)
      ? undefined
      : new SharedScheduler(model, { slots, deterministic, adapters });
    const served = { name, model, scheduler, adapters };
    this.served.set(name, served);
    return served;
  }

  /**
   * Ends all answers, frees the caches, and the weights and adapters that the server has loaded. The state is then as
   * before the first load.
   */
  async unload(error: HeddleError = new HeddleError("DISPOSED", "model: used after dispose()")): Promise<void> {
    if (this.loading) await this.loading.catch(() => {});
    if (this.opening.size > 0) await Promise.allSettled(this.opening.values());
    const all = [...this.served.values()];
    const adapters = [...this.ownNames.values()];
    const { model } = this;
    this.served.clear();
    this.ownNames.clear();
    if (this.isOwned) this.model = undefined;
    for (const { scheduler } of all) {
      await scheduler?.close(error);
      this.tokens += scheduler?.counts.tokens ?? 0;
    }
    if (this.isOwned) await model?.dispose();
    else if (model) for (const name of adapters) removeAdapter(model, name);
  }
}

/** Number of adapters that all servers of this process have loaded. */
let adaptersLoaded = 0;

/** Returns an unused name for an adapter in the model. Other servers of the process may load adapters into the same model. */
function unusedName({ model }: LanguageModel): string {
  let name: string;
  do name = `served-${++adaptersLoaded}`;
  while (model.adapters.has(name));
  return name;
}

/**
 * Removes an adapter from a model of the caller. Failures are ignored: the caller may have disposed the model, or removed or merged the
 * adapter, or may be training it.
 */
function removeAdapter(model: LanguageModel, name: string): void {
  try {
    model.removeAdapter(name);
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
  }
}

const NO_LOAD: Load = { running: 0, waiting: 0, tokens: 0, cacheUsage: 0 };
