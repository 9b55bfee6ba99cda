// The models of a server, by their names in requests. They are loaded on first use, and unloaded if memory is short.
import { HeddleError } from "../../core/errors.ts";
import { raceAbort } from "../../core/race-abort.ts";
import type { SharedScheduler } from "../../inference/shared-scheduler.ts";
import { LanguageModel, type LoadOptions } from "../../language-model/index.ts";
import { Refusal, unavailable, unsupported } from "../http/http-error.ts";
import { Semaphore } from "../http/semaphore.ts";
import { BaseModel, type Loader } from "./base-model.ts";
import type { CheckedSource } from "./model-source.ts";

/** A loaded model. */
export interface Served {
  name: string;
  model: LanguageModel;
  /** Undefined for an encoder, which cannot generate text. */
  scheduler: SharedScheduler | undefined;
  /** Names of the adapters that apply. Undefined: the model's active ones. */
  adapters: readonly string[] | undefined;
}

/** Current load of a model, or of all. */
export interface Load {
  /** Number of running sequences. Sequences of one model share its forward passes. */
  running: number;
  /** Number of sequences that wait for a slot. */
  waiting: number;
  /** Number of tokens generated since the start. */
  tokens: number;
  /** Share of the KV cache that running sequences take, from 0 to 1. */
  cacheUsage: number;
}

/** The state of a model that requests can name. */
export interface ModelStatus {
  name: string;
  aliases: readonly string[];
  /** Name of the model whose weights it uses, if it is an adapter. */
  base: string | undefined;
  isLoaded: boolean;
  /** Size of the weights in bytes, as far as is known. The size of a base includes its adapters, so that of an adapter is 0. */
  bytes: number;
  load: Load;
}

/** Settings of a server's models. */
interface ModelsOptions {
  /** Maximum number of sequences that share a model's forward passes. */
  slots: number;
  deterministic: boolean;
  /** Maximum size of all weights together in bytes. */
  maxMemory?: number | undefined;
  /** Maximum number of requests that wait for a model to be loaded. */
  maxWaiting: number;
  /** Loads a model. Default: LanguageModel.load */
  load?: Loader | undefined;
}

interface Entry {
  name: string;
  aliases: readonly string[];
  base: BaseModel;
}

/** The models that a handler serves. */
export class Models {
  private readonly entries: readonly Entry[];
  private readonly byName: ReadonlyMap<string, Entry>;
  private readonly bases: readonly BaseModel[];
  private readonly maxMemory: number;
  private readonly maxWaiting: number;
  /** Requests wait for memory one after another, so that no request starves. */
  private readonly line = new Semaphore(1);
  /** Number of requests that wait for memory. */
  private inLine = 0;
  /** Number of requests that wait for memory or for a model to be loaded. */
  private waiting = 0;
  /** Number of uses that have ended. `lastUse` of a base is this number at the end of its last use. */
  private uses = 0;
  private preloading = 0;
  /** Wakes the request that waits for memory. */
  private freed: (() => void) | undefined;
  private readonly closing = new AbortController();

  constructor(sources: readonly CheckedSource[], options: ModelsOptions) {
    const { slots, deterministic, maxMemory = Number.POSITIVE_INFINITY, maxWaiting } = options;
    const load: Loader = options.load ?? ((path, how) => LanguageModel.load(path, how));
    this.maxMemory = maxMemory;
    this.maxWaiting = maxWaiting;
    this.entries = sources.flatMap((source) => {
      const base = new BaseModel(source, { slots, deterministic, load });
      return [
        { name: source.name, aliases: source.aliases, base },
        ...base.adapterNames.map((name) => ({ name, aliases: [], base })),
      ];
    });
    this.bases = [...new Set(this.entries.map(({ base }) => base))];
    this.byName = new Map(this.entries.flatMap((entry) => [entry.name, ...entry.aliases].map((name) => [name, entry])));
  }

  /** All names, with aliases. */
  get names(): readonly string[] {
    return [...this.byName.keys()];
  }

  /** The models that are loaded now, without adapters. */
  get loaded(): { name: string; model: LanguageModel }[] {
    return this.bases.flatMap(({ name, loadedModel: model }) => (model ? [{ name, model }] : []));
  }

  /** Returns the model that a name stands for: for an adapter, its base. Undefined if that is not loaded now. */
  loadedAs(name: string): LanguageModel | undefined {
    return this.byName.get(name)?.base.loadedModel;
  }

  /** The state of each model and adapter. */
  get all(): ModelStatus[] {
    return this.entries.map(({ name, aliases, base }) => ({
      ...{ name, aliases },
      base: name === base.name ? undefined : base.name,
      isLoaded: base.isLoaded && (name === base.name || base.loads.has(name)),
      bytes: name === base.name ? base.bytes : 0,
      load: base.loads.get(name) ?? { running: 0, waiting: 0, tokens: 0, cacheUsage: 0 },
    }));
  }

  /** The load of all models together. `cacheUsage` is that of the fullest cache. */
  get load(): Load {
    const sum: Load = { running: 0, waiting: 0, tokens: 0, cacheUsage: 0 };
    for (const base of this.bases) {
      sum.tokens += base.pastTokens;
      for (const { running, waiting, tokens, cacheUsage } of base.loads.values()) {
        sum.running += running;
        sum.waiting += waiting;
        sum.tokens += tokens;
        sum.cacheUsage = Math.max(sum.cacheUsage, cacheUsage);
      }
    }
    return sum;
  }

  /** Returns the name in a request if it is known, or that of the default model. @throws Refusal 404 */
  check(given: string | undefined): string {
    const { name } = this.find(given);
    return given ?? name;
  }

  /**
   * Returns the name, path and options of a model that is neither loaded nor being loaded. Undefined for other models.
   * @throws Refusal 404
   */
  unloaded(given: string | undefined): { name: string; path: string; load: LoadOptions } | undefined {
    const { name, base } = this.find(given);
    return base.files && !base.takesMemory ? { name, ...base.files } : undefined;
  }

  /**
   * Runs `work` with a model, which stays loaded until `work` ends. The model is loaded first, if necessary.
   * @param given the name in the request. Default: the first model
   * @throws Refusal 404 for an unknown model, 429 if too many requests wait for a model, 500 or 503 if it cannot be loaded; as `work`
   */
  async use<T>(given: string | undefined, signal: AbortSignal, work: (served: Served) => Promise<T>): Promise<T> {
    const { name, base } = this.find(given);
    const served = await this.take(name, base, signal);
    try {
      return await work(served);
    } finally {
      this.release(base);
    }
  }

  /** Loads a model unless it is loaded. @throws as `use` */
  async preload(given?: string): Promise<void> {
    this.preloading++;
    try {
      await this.use(given, this.closing.signal, async () => {});
    } finally {
      this.preloading--;
    }
  }

  /** Whether a call of `preload` has not ended. */
  get isPreloading(): boolean {
    return this.preloading > 0;
  }

  /** Ends all answers and frees the caches, and the weights that the server has loaded. */
  async close(): Promise<void> {
    const error = new HeddleError("DISPOSED", "server: used after close()");
    this.closing.abort(unavailable("server: shutting down"));
    await Promise.all(this.bases.map((base) => base.unload(error)));
  }

  private find(given: string | undefined): Entry {
    const found = given === undefined ? this.entries[0] : this.byName.get(given);
    if (!found) throw unknownModel(given!, this.names);
    return found;
  }

  /** Returns a model, which counts as used until the caller calls `release`. */
  private async take(name: string, base: BaseModel, signal: AbortSignal): Promise<Served> {
    this.closing.signal.throwIfAborted();
    // Requests for loaded models wait behind those that need memory. Otherwise a busy model would never become idle.
    if (this.inLine > 0 || !base.isLoaded) return this.waitFor(name, base, signal);
    base.users++;
    return this.opened(name, base, signal);
  }

  private async waitFor(name: string, base: BaseModel, signal: AbortSignal): Promise<Served> {
    if (this.waiting >= this.maxWaiting)
      throw new Refusal(
        429,
        `server: expected at most ${this.maxWaiting} requests that wait for a model: try again later`,
        {
          code: "queue_full",
          headers: { "retry-after": "1" },
        },
      );
    this.waiting++;
    this.inLine++;
    try {
      try {
        await this.line.run(() => this.makeRoom(base, signal), signal);
      } finally {
        this.inLine--;
      }
      return await this.opened(name, base, signal);
    } finally {
      this.waiting--;
    }
  }

  private async opened(name: string, base: BaseModel, signal: AbortSignal): Promise<Served> {
    try {
      // A load continues if the request that began it is aborted, because other requests may wait for the model too.
      const opening = base.open(name, this.closing.signal).finally(() => this.notify());
      const served = await raceAbort(opening, signal);
      await this.shrink();
      return served;
    } catch (error) {
      this.release(base);
      signal.throwIfAborted();
      this.closing.signal.throwIfAborted();
      throw loadFailure(name, error);
    }
  }

  private release(base: BaseModel): void {
    base.users--;
    base.lastUse = ++this.uses;
    if (base.users === 0) this.notify();
  }

  private notify(): void {
    this.freed?.();
    this.freed = undefined;
  }

  /** Makes room for a model and begins to load it. Models that no request uses are unloaded, the least recently used first. */
  private async makeRoom(base: BaseModel, signal: AbortSignal): Promise<void> {
    const needed = base.takesMemory ? 0 : await base.neededBytes();
    while (!base.takesMemory && this.memory + needed > this.maxMemory) {
      this.closing.signal.throwIfAborted();
      signal.throwIfAborted();
      // The weights of the caller's models cannot be unloaded.
      const kept = this.bases.reduce((sum, other) => sum + (other.isOwned ? 0 : other.bytes), 0);
      if (kept + needed > this.maxMemory)
        throw new Refusal(503, `model: ${base.name} takes more memory than is left for models (maxModelMemory)`, {
          param: "model",
          code: "model_too_large",
        });
      const idle = this.idleBase();
      if (idle) await idle.unload();
      else await this.nextFreed(signal);
    }
    base.users++;
    base.begin(this.closing.signal);
  }

  /** Unloads idle models if the loaded models together exceed the limit. Tensors can be larger than their files. */
  private async shrink(): Promise<void> {
    for (let idle = this.idleBase(); idle && this.memory > this.maxMemory; idle = this.idleBase()) await idle.unload();
  }

  /** Size in bytes of the weights that are loaded or being loaded. */
  private get memory(): number {
    return this.bases.reduce((sum, base) => sum + (base.takesMemory ? base.bytes : 0), 0);
  }

  private idleBase(): BaseModel | undefined {
    const idle = this.bases.filter((base) => base.isIdle);
    return idle.sort((a, b) => a.lastUse - b.lastUse)[0];
  }

  private nextFreed(signal: AbortSignal): Promise<void> {
    const freed = new Promise<void>((resolve) => {
      this.freed = resolve;
    });
    return raceAbort(raceAbort(freed, signal), this.closing.signal);
  }
}

/** Returns the 404 error for an unknown model. */
function unknownModel(given: string, known: readonly string[]): Refusal {
  const shown = JSON.stringify(given.slice(0, 200));
  const hint = "--alias NAME, or the option aliases, gives the model another name";
  return new Refusal(404, `model: expected ${known.join(" or ")}, got ${shown} (${hint})`, {
    param: "model",
    code: "model_not_found",
  });
}

/** Returns the scheduler of a generating model. @throws Refusal 400 for an encoder */
export function generating({ scheduler, name }: Served): SharedScheduler {
  if (!scheduler) throw unsupported("model", `${name} is an encoder and cannot generate text`);
  return scheduler;
}

/**
 * Returns the error for a model that could not be loaded. The message has no paths, because clients must not see them.
 * The cause may have some.
 */
export function loadFailure(name: string, error: unknown): Refusal {
  const code = error instanceof HeddleError ? error.code : "INTERNAL";
  const isLater = code === "OUT_OF_MEMORY";
  const refusal = new Refusal(isLater ? 503 : 500, `model: ${name} could not be loaded (${code})`, {
    param: "model",
    code: "model_not_loaded",
    ...(isLater && { headers: { "retry-after": "1" } }),
  });
  refusal.cause = error;
  return refusal;
}
