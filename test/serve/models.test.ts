// Several models behind one server: by name, loaded on first use, unloaded under a memory limit. The test replaces the loader.
import { afterEach, describe, expect, test } from "vitest";
import { HeddleError } from "../../lib/core/errors.ts";
import type { LanguageModel, LoadOptions } from "../../lib/language-model/index.ts";
import { checkedSources, type ModelSource } from "../../lib/serve/core/model-source.ts";
import { Models } from "../../lib/serve/core/models.ts";
import { failureOf, tinyModel } from "../inference/helpers.ts";
import { until } from "./helpers.ts";

const never = new AbortController().signal;
const sizeOf = ({ model }: LanguageModel) => [...model.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
/** A model with about twice the bytes of `tinyModel`. Only the last norm is not larger. */
const largeModel = () => tinyModel({}, { numHiddenLayers: 4, vocabSize: 640 });

/** A loader whose loads the test lets succeed or fail. The model with the name `large` is a large one. */
class Loads {
  readonly begun: string[] = [];
  readonly made: LanguageModel[] = [];
  readonly pending: { path: string; settle: (error?: Error) => void }[] = [];

  readonly load = (path: string, { signal }: LoadOptions): Promise<LanguageModel> => {
    this.begun.push(path);
    return new Promise((resolve, reject) => {
      const settle = (error?: Error) => {
        if (error) return reject(error);
        const model = path.endsWith("large") ? largeModel() : tinyModel();
        this.made.push(model);
        resolve(model);
      };
      signal?.addEventListener("abort", () => reject(signal.reason));
      this.pending.push({ path, settle });
    });
  };

  /** Ends the oldest load. */
  async next(error?: Error): Promise<void> {
    await until(() => this.pending.length > 0, "a load");
    this.pending.shift()!.settle(error);
  }
}

const open: Models[] = [];
afterEach(async () => {
  for (const models of open.splice(0)) await models.close();
});

function modelsOf(sources: readonly ModelSource[], options: { maxMemory?: number; maxWaiting?: number } = {}) {
  const loads = new Loads();
  const { maxWaiting = 8, maxMemory } = options;
  const how = { slots: 2, deterministic: false, maxMemory, maxWaiting, load: loads.load };
  const models = new Models(checkedSources(sources), how);
  open.push(models);
  return { models, loads };
}

const paths = (...names: string[]): ModelSource[] => names.map((name) => ({ name, path: `/nowhere/${name}` }));
const nothing = async () => {};
const loaded = (models: Models) => models.all.filter(({ isLoaded }) => isLoaded).map(({ name }) => name);

/** Work that lasts until the test ends it. */
function stays(): { stay: () => Promise<void>; end: () => void } {
  const ended = new AbortController();
  const stay = () => new Promise<void>((resolve) => ended.signal.addEventListener("abort", () => resolve()));
  return { stay, end: () => ended.abort() };
}

/** Loads a model and ends its use. */
async function touch({ models, loads }: ReturnType<typeof modelsOf>, name: string): Promise<void> {
  const used = models.use(name, never, nothing);
  if (!loaded(models).includes(name)) await loads.next();
  await used;
}

test("a model is loaded at its first request, once for concurrent requests", async () => {
  const { models, loads } = modelsOf(paths("a", "b"));
  expect(models.names).toEqual(["a", "b"]);
  expect([loads.begun, loaded(models)]).toEqual([[], []]);
  const used = Promise.all([undefined, "a", "a"].map((name) => models.use(name, never, async ({ model }) => model)));
  await loads.next();
  const [first, ...others] = await used;
  expect(others).toEqual([first, first]);
  expect(loads.begun).toEqual(["/nowhere/a"]);
  expect(loaded(models)).toEqual(["a"]);
  expect(models.loaded).toMatchObject([{ name: "a", model: first }]);
  expect(models.all[0]!.bytes).toBe(sizeOf(first!));
});

test("requests for a loaded model do not wait for the load of another", async () => {
  const all = modelsOf(paths("a", "b"));
  await touch(all, "a");
  const slow = all.models.use("b", never, nothing);
  await until(() => all.loads.begun.length === 2, "a second load");
  expect(await all.models.use("a", never, async ({ name }) => name)).toBe("a");
  await all.loads.next();
  await slow;
});

test("a model is preloading until it is loaded or its load fails", async () => {
  const { models, loads } = modelsOf(paths("a"));
  for (const error of [new HeddleError("IO", "no disk"), undefined]) {
    const preloaded = models.preload("a").catch((failure) => failure);
    expect(models.isPreloading).toBe(true);
    await loads.next(error);
    expect((await preloaded)?.code).toBe(error && "model_not_loaded");
    expect(models.isPreloading).toBe(false);
  }
  expect(loaded(models)).toEqual(["a"]);
});

test("a failed load is an error without paths, and the next request tries again", async () => {
  const { models, loads } = modelsOf(paths("a"));
  const failures = ["a", "a"].map((name) => models.use(name, never, nothing).catch((error) => error));
  await loads.next(new HeddleError("INVALID_FILE", "/nowhere/a/config.json: expected JSON, got x"));
  for (const error of await Promise.all(failures)) {
    expect(error).toMatchObject({ status: 500, code: "model_not_loaded", param: "model" });
    expect(error.message).toBe("model: a could not be loaded (INVALID_FILE)");
    expect(error.cause).toMatchObject({ code: "INVALID_FILE" });
  }
  const again = models.use("a", never, async ({ name }) => name);
  await loads.next();
  expect(await again).toBe("a");
  expect(loads.begun).toHaveLength(2);
});

test("a load that runs out of memory gives a 503 with Retry-After", async () => {
  const { models, loads } = modelsOf(paths("a"));
  const failure = models.use("a", never, nothing).catch((error) => error);
  await loads.next(new HeddleError("OUT_OF_MEMORY", "no memory"));
  expect(await failure).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
});

test("an aborted request does not end a load that another request waits for", async () => {
  const { models, loads } = modelsOf(paths("a"));
  const leaving = new AbortController();
  const left = models.use("a", leaving.signal, nothing).catch((error) => error);
  const stays = models.use("a", never, async ({ name }) => name);
  await until(() => loads.begun.length === 1, "a load");
  leaving.abort(new Error("left"));
  expect(await left).toMatchObject({ message: "left" });
  await loads.next();
  expect(await stays).toBe("a");
});

describe("with a memory limit", () => {
  const bytes = (() => {
    const model = tinyModel();
    const size = sizeOf(model);
    model.model.dispose();
    return size;
  })();
  /** Two models fit. */
  const limit = { maxMemory: 2.5 * bytes };

  test("the least recently used idle model is unloaded", async () => {
    const all = modelsOf(paths("a", "b", "c"), limit);
    // The sizes become known when models are loaded for the first time.
    for (const name of ["a", "b", "c", "a", "b"]) await touch(all, name);
    expect(loaded(all.models)).toEqual(["a", "b"]);
    await touch(all, "a");
    await touch(all, "c");
    expect(loaded(all.models)).toEqual(["a", "c"]);
    const unloaded = all.loads.made.filter(({ model }) => {
      try {
        model.assertLive();
        return false;
      } catch {
        return true;
      }
    });
    expect(unloaded).toHaveLength(all.loads.made.length - 2);
  });

  test("a model in use is never unloaded, and later requests wait in order, even for a loaded model", async () => {
    const all = modelsOf(paths("a", "b", "c"), limit);
    for (const name of ["a", "b", "c"]) await touch(all, name);
    expect(loaded(all.models)).toEqual(["b", "c"]);
    const { stay, end } = stays();
    const using = ["b", "c"].map((name) => all.models.use(name, never, stay));
    const order: string[] = [];
    const first = all.models.use("a", never, async ({ name }) => void order.push(name));
    const second = all.models.use("b", never, async ({ name }) => void order.push(name));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([order, loaded(all.models)]).toEqual([[], ["b", "c"]]);
    end();
    await Promise.all(using);
    await all.loads.next();
    await first;
    if (!loaded(all.models).includes("b")) await all.loads.next();
    await second;
    expect(order).toEqual(["a", "b"]);
  });

  test("a request that waits for memory leaves the queue when its client disconnects", async () => {
    const all = modelsOf(paths("a", "b", "c"), limit);
    for (const name of ["a", "b", "c"]) await touch(all, name);
    const { stay, end } = stays();
    const using = ["b", "c"].map((name) => all.models.use(name, never, stay));
    const leaving = new AbortController();
    const left = all.models.use("a", leaving.signal, nothing).catch((error) => error);
    leaving.abort(new Error("left"));
    expect(await left).toMatchObject({ message: "left" });
    expect(await all.models.use("c", never, async ({ name }) => name)).toBe("c");
    end();
    await Promise.all(using);
  });

  test("a model that does not fit in memory next to the caller's own models is rejected at once", async () => {
    await using own = tinyModel();
    const all = modelsOf([{ name: "own", model: own }, ...paths("a")], { maxMemory: 1.5 * bytes });
    await touch(all, "a"); // its size is not known before
    await touch(all, "own");
    expect(loaded(all.models)).toEqual(["own"]);
    expect(await all.models.use("a", never, nothing).catch((error) => error)).toMatchObject({
      status: 503,
      code: "model_too_large",
      message: "model: a takes more memory than is left for models (maxModelMemory)",
    });
    expect(own.model.assertLive()).toBeUndefined();
  });

  test("a model that can never fit neither unloads others nor waits for them", async () => {
    await using own = tinyModel();
    // "own" and "a" fit together. "large" takes twice as much as "a", and "own" is never unloaded.
    const all = modelsOf([{ name: "own", model: own }, ...paths("large", "a")], limit);
    await touch(all, "large"); // its size is not known before
    await touch(all, "a");
    expect(loaded(all.models)).toEqual(["own", "a"]);
    const refused = () => all.models.use("large", AbortSignal.timeout(5000), nothing).catch((error) => error);
    expect(await refused()).toMatchObject({ status: 503, code: "model_too_large" });
    expect(loaded(all.models)).toEqual(["own", "a"]);
    await all.models.use("a", never, async () => {
      expect(await refused()).toMatchObject({ status: 503, code: "model_too_large" });
    });
  });
});

test("a request gets a 429 if the maximum number of requests wait for a model", async () => {
  const { models, loads } = modelsOf(paths("a"), { maxWaiting: 2 });
  const waiting = [1, 2].map(() => models.use("a", never, nothing));
  expect(await models.use("a", never, nothing).catch((error) => error)).toMatchObject({
    status: 429,
    code: "queue_full",
    headers: { "retry-after": "1" },
  });
  await loads.next();
  await Promise.all(waiting);
});

test("closing ends loads, and further requests are refused", async () => {
  const { models, loads } = modelsOf(paths("a"));
  const waiting = models.use("a", never, nothing).catch((error) => error);
  await until(() => loads.begun.length === 1, "a load");
  await models.close();
  expect(await waiting).toMatchObject({ status: 503 });
  expect(await models.use("a", never, nothing).catch((error) => error)).toMatchObject({ status: 503 });
});

test("aliases and adapters are names too, and the error for an unknown name lists the known ones", async () => {
  const { models } = modelsOf([
    { name: "a", path: "/nowhere/a", aliases: ["gpt-4o"], adapters: { "a/sql": "/nowhere/sql" } },
  ]);
  expect(models.names).toEqual(["a", "gpt-4o", "a/sql"]);
  expect([models.check("gpt-4o"), models.check("a/sql"), models.check(undefined)]).toEqual(["gpt-4o", "a/sql", "a"]);
  expect(() => models.check("b")).toThrow('model: expected a or gpt-4o or a/sql, got "b" (--alias NAME');
  expect(models.all[1]).toMatchObject({ base: "a", isLoaded: false });
});

test.each<[unknown[], RegExp]>([
  [[], /^models: expected at least one model/],
  [[1], /^models\[0\]: expected an object/],
  [[{}], /^models\[0\]: expected either a model or a path, got none/],
  [[{ path: "" }], /^model: /],
  [[{ model: {} }], /^models\[0\]\.model: expected a LanguageModel/],
  [[{ path: "a", nam: "b" }], /^nam: .*nearest: name/],
  [[{ path: "a", name: "a b" }], /^models\[0\]\.name: /],
  [[{ path: "a" }, { path: "/b/a" }], /^models\[1\]\.name: expected a name that is not taken/],
  [[{ path: "a", aliases: ["a"] }], /^models\[0\]\.aliases: expected a name that is not taken/],
  [[{ path: "a", aliases: "b" }], /^models\[0\]\.aliases: expected an array/],
  [[{ path: "a", adapters: { b: 1 } }], /^models\[0\]\.adapters: /],
  [[{ path: "a", adapters: [] }], /^models\[0\]\.adapters: /],
  [[{ path: "a", load: { dtyp: "f32" } }], /^dtyp: /],
])("rejects the models %j", async (sources, message) => {
  const failure = await failureOf(() => checkedSources(sources as ModelSource[]));
  expect(failure.code).toBe("INVALID_ARGUMENT");
  expect(failure.message).toMatch(message);
});
