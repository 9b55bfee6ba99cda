import {
  add,
  compile,
  Dimension,
  input,
  type LogitHead,
  linear,
  logitsOf,
  type Program,
  type Results,
  SAMPLE_PARAMS,
  sample,
  tokenLogprob,
  type Value,
} from "../graph/index.ts";
import type { CacheShape } from "../models/cache-shape.ts";
import { cachedForward, rowInputs } from "../models/forward.ts";
import { classifierLogits } from "../models/heads.ts";
import type { ModelView } from "../models/model-view.ts";
import type { PooledRows } from "./pooling.ts";

/** Upper bounds of a program's symbolic dimensions. */
interface Bounds {
  /** Rows of one run: a chunk of prefill, or one row per sequence in decoding. */
  rows: number;
  /** Maximum number of rows with logits. */
  logitRows: number;
}

/** The shape that a program is planned for. `top` is the number of likeliest tokens reported per sampled row. */
export interface ProgramShape extends Bounds {
  cache: CacheShape;
  top: number;
  /** Whether a row's bits must depend on its own sequence only. */
  rowwise?: boolean | undefined;
}

function key(kind: string, { cache, rows, logitRows, top, rowwise = false }: ProgramShape): string {
  const { slots, capacity, context, dtype, pages, adapters = [] } = cache;
  const paged = pages ? `${pages.count}x${pages.size}` : "";
  return [kind, slots, capacity, context, dtype, paged, rows, logitRows, top, rowwise, ...adapters].join("/");
}

/** Returns the hidden states of the rows that the input `logitRows` names, and the head for their logits. */
function wantedHidden(model: ModelView, shape: ProgramShape): { hidden: Value; head: LogitHead; wanted: Dimension } {
  const segments = input("segments", "i32", [new Dimension("segments", shape.cache.slots), 4]);
  const rows = rowInputs(new Dimension("rows", shape.rows));
  const wanted = new Dimension("logit rows", shape.logitRows);
  const logitRows = input("logitRows", "i32", [wanted]);
  const { hidden, head } = cachedForward(model, rows, segments, shape.cache, { ...shape, wanted: logitRows });
  return { hidden, head, wanted };
}

function sampled(model: ModelView, logits: Value, rows: Dimension, shape: ProgramShape): Results {
  const perRow = (name: string, dtype: "f32" | "i32", columns: number | Dimension) =>
    input(name, dtype, [rows, columns]);
  // The system commits inputs' memory on first use, so a bound that is never reached costs nothing.
  const bias = new Dimension("biases", model.config.vocabSize);
  const { token, logprob, topIds, topLogprobs, entropy } = sample(
    {
      logits,
      params: perRow("params", "f32", SAMPLE_PARAMS.length),
      history: perRow("history", "i32", new Dimension("history", shape.cache.context)),
      biasIds: perRow("biasIds", "i32", bias),
      biasValues: perRow("biasValues", "f32", bias),
      rng: perRow("rng", "i32", 3),
    },
    { top: shape.top },
  );
  return { token, logprob, ...(topIds && topLogprobs && entropy && { topIds, topLogprobs, entropy }) };
}

/** A program that runs the model and samples. Logits never leave native code. */
export function sampleProgram(model: ModelView, shape: ProgramShape): Program {
  return model.cached(key("sample", shape), () =>
    compile(() => {
      const { hidden, head, wanted } = wantedHidden(model, shape);
      return sampled(model, logitsOf(hidden, head, { rowwise: shape.rowwise }), wanted, shape);
    }),
  );
}

/** A program that runs the model, samples, and also returns the logits, for custom logit processors. */
export function sampleAndLogitsProgram(model: ModelView, shape: ProgramShape): Program {
  return model.cached(key("sample+logits", shape), () =>
    compile(() => {
      const { hidden, head, wanted } = wantedHidden(model, shape);
      const logits = logitsOf(hidden, head, { rowwise: shape.rowwise });
      return { ...sampled(model, logits, wanted, shape), logits };
    }),
  );
}

/** A program that only samples, from logits that a custom processor has changed. */
export function choiceProgram(model: ModelView, shape: ProgramShape): Program {
  return model.cached(key("choice", { ...shape, top: 0 }), () =>
    compile(() => {
      const rows = new Dimension("logit rows", shape.logitRows);
      return sampled(model, input("logits", "f32", [rows, model.config.vocabSize]), rows, { ...shape, top: 0 });
    }),
  );
}

/** A program that runs the model and returns the logits of the wanted rows. */
export function logitsProgram(model: ModelView, shape: ProgramShape): Program {
  return model.cached(key("logits", shape), () =>
    compile(() => {
      const { hidden, head } = wantedHidden(model, shape);
      return { logits: logitsOf(hidden, head, { rowwise: shape.rowwise }) };
    }),
  );
}

/** A program that only fills the cache, for all chunks of a prompt but the last. */
export function prefillProgram(model: ModelView, shape: ProgramShape): Program {
  return model.cached(key("prefill", shape), () =>
    compile(() => {
      const segments = input("segments", "i32", [new Dimension("segments", shape.cache.slots), 4]);
      const rows = rowInputs(new Dimension("rows", shape.rows));
      // Cache writes are effects, so the graph keeps everything that they need, though the program returns nothing.
      cachedForward(model, rows, segments, shape.cache, shape);
      return {};
    }),
  );
}

/** A program that returns the log-probability of a target for every row, without storing all logits. */
export function scoreProgram(model: ModelView, shape: ProgramShape): Program {
  return model.cached(key("score", shape), () =>
    compile(() => {
      const rows = new Dimension("rows", shape.rows);
      const segments = input("segments", "i32", [new Dimension("segments", shape.cache.slots), 4]);
      const { hidden, head } = cachedForward(model, rowInputs(rows), segments, shape.cache);
      const { logprob } = tokenLogprob(hidden, head, input("targets", "i32", [rows]));
      return { logprob };
    }),
  );
}

/**
 * Returns a function that makes a program for a forward pass. The program returns `pooled`: one vector per segment,
 * weighted sums of rows, or all rows. With `head` it also returns the classifier's `logits`. For sums, the input `pool`
 * (segments · modes, rows) has each row's weight, and `carried` (segments · modes, width) the sums of earlier chunks.
 * @param modes number of pooling modes, each a weighted sum per segment
 */
export function pooledProgram(rows: PooledRows, { head, modes }: { head: boolean; modes: number }) {
  return (model: ModelView, shape: ProgramShape): Program =>
    model.cached(key(`pooled/${rows}/${modes}/${head}`, shape), () =>
      compile((): Results => {
        const segments = new Dimension("segments", shape.cache.slots);
        const all = new Dimension("rows", shape.rows);
        const table = input("segments", "i32", [segments, 4]);
        const wanted = rows === "first" || rows === "last" ? input("wanted", "i32", [segments]) : undefined;
        const forward = cachedForward(model, rowInputs(all), table, shape.cache, { wanted });
        const pooled = () => {
          const { hidden } = forward;
          if (rows !== "sums") return hidden;
          const sums = new Dimension("sums", shape.cache.slots * modes);
          const weighted = linear(input("pool", "f32", [sums, all]), hidden, undefined, { transposed: true });
          return add(weighted, input("carried", "f32", [sums, model.config.hiddenSize]));
        };
        const value = pooled();
        return head ? { pooled: value, logits: classifierLogits(forward, model.config, value) } : { pooled: value };
      }),
    );
}
