import { firstPosition } from "../formats/positions.ts";
import {
  compile,
  Dimension,
  gatherRows,
  type Inputs,
  input,
  linear,
  type Program,
  type Results,
} from "../graph/index.ts";
import { rowInputs, sequenceForward } from "../models/forward.ts";
import { classifierLogits } from "../models/heads.ts";
import { holding, type ModelView } from "../models/model-view.ts";
import { placesFor } from "../nn/relative-bias.ts";
import { raceAbort } from "./abort.ts";
import { type Reduce, reduceInto } from "./pooling.ts";
import type { PooledRows } from "./programs.ts";

/** Rows of one run, where no single sequence is longer. */
const MOST_ROWS = 1024;
const MOST_SEQUENCES = 64;
/** Rows of a run up to which what was bound for it is kept for the next: of more it would hold memory that counts, and binding does not. */
const KEPT_ROWS = 128;

export interface EncodeOptions {
  pooling: PooledRows;
  /** The classifier's logits instead of hidden states. */
  head?: boolean | undefined;
  /** As in PooledOptions. */
  reduce?: Reduce | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * The vectors of a model that attends both ways, one a sequence, or with pooling `all` those of its tokens one after another. Sequences share a run as
 * documents of one row of text that do not see each other, without padding.
 */
export async function encodedOutputs(
  model: ModelView,
  sequences: readonly ArrayLike<number>[],
  options: EncodeOptions,
): Promise<Float32Array[]> {
  return holding(model, (held) => encodedBy(held, sequences, options));
}

async function encodedBy(
  model: ModelView,
  sequences: readonly ArrayLike<number>[],
  options: EncodeOptions,
): Promise<Float32Array[]> {
  const out: Float32Array[] = new Array(sequences.length);
  const order = sequences.map((_, i) => i).sort((a, b) => sequences[a]!.length - sequences[b]!.length);
  for (let at = 0; at < order.length; ) {
    const group: number[] = [];
    let rows = 0;
    while (at < order.length && group.length < MOST_SEQUENCES) {
      const { length } = sequences[order[at]!]!;
      if (group.length > 0 && rows + length > MOST_ROWS) break;
      rows += length;
      group.push(order[at++]!);
    }
    const results = await runGroup(
      model,
      group.map((i) => sequences[i]!),
      rows,
      options,
    );
    await reduceInto(out, group, results, options);
  }
  return out;
}

/** What a program is planned for: one serves all texts but those that are longer than a run otherwise is. */
function boundFor(rows: number): number {
  let bound = MOST_ROWS;
  while (bound < rows) bound *= 2;
  return bound;
}

async function runGroup(
  model: ModelView,
  sequences: readonly ArrayLike<number>[],
  rows: number,
  { pooling, head = false, signal }: EncodeOptions,
): Promise<Float32Array[]> {
  const count = sequences.length;
  const [ids, positions] = [new Int32Array(rows), new Int32Array(rows)];
  const documents = new Int32Array(rows);
  const lengths = new Int32Array(rows);
  const wanted: number[] = [];
  const pool = pooling === "mean" ? new Float32Array(count * rows) : undefined;
  const begin = firstPosition(model.config);
  let first = 0;
  for (const [s, sequence] of sequences.entries()) {
    const { length } = sequence;
    for (let i = 0; i < length; i++) {
      ids[first + i] = sequence[i]!;
      positions[first + i] = begin + i;
    }
    documents.fill(s, first, first + length);
    lengths.fill(length, first, first + length);
    if (pooling === "all") for (let i = 0; i < length; i++) wanted.push(first + i);
    else wanted.push(pooling === "last" ? first + length - 1 : first);
    pool?.fill(1 / length, s * rows + first, s * rows + first + length);
    first += length;
  }
  const byDistance = model.family.encoder?.byDistance;
  const shape = {
    bound: boundFor(rows),
    longest: byDistance ? placesFor(sequences.reduce((most, { length }) => Math.max(most, length), 0)) : undefined,
    pooling,
    head,
  };
  const program = encodeProgram(model, shape);
  const inputs: Inputs = {
    ids,
    positions,
    documents,
    ...(program.inputNames.has("tokenTypes") && { tokenTypes: new Int32Array(rows) }),
    ...(program.inputNames.has("lengths") && { lengths }),
    ...(pool ? { pool } : { wanted: Int32Array.from(wanted) }),
  };
  const bind = () => program.bind(model.device, model.tensors);
  const key = encodeKey(model, shape);
  const executable = rows > KEPT_ROWS ? bind() : model.takeBound(key, bind);
  let done = false;
  try {
    const { vectors } = await raceAbort(executable.run(inputs, { signal }), signal);
    done = true;
    const counts = sequences.map((sequence) => (pooling === "all" ? sequence.length : 1));
    const each = vectors!.length / counts.reduce((a, b) => a + b, 0);
    let at = 0;
    return counts.map((n) => {
      at += n * each;
      return (vectors as Float32Array).slice(at - n * each, at);
    });
  } finally {
    if (done && rows <= KEPT_ROWS) model.keepBound(key, executable);
    else executable.dispose();
  }
}

interface EncodeShape extends Pick<EncodeOptions, "pooling"> {
  /** Of the rows. */
  bound: number;
  /** Of a text's tokens, where the family's programs depend on it. */
  longest: number | undefined;
  head: boolean;
}

function encodeKey(model: ModelView, { bound, longest = 0, pooling, head }: EncodeShape): string {
  return ["encode", bound, longest, pooling, head, ...model.activeAdapters].join("/");
}

function encodeProgram(model: ModelView, shape: EncodeShape): Program {
  const { bound, longest, pooling, head } = shape;
  return model.cached(encodeKey(model, shape), () =>
    compile((): Results => {
      const rows = new Dimension("rows", bound);
      const forward = sequenceForward(model, rowInputs(rows), {
        documents: input("documents", "i32", [rows]),
        longest,
        activations: model.quantizedActivations,
        asStored: true,
      });
      const { hidden } = forward;
      const made =
        pooling === "mean"
          ? linear(input("pool", "f32", [new Dimension("sequences", MOST_SEQUENCES), rows]), hidden, undefined, {
              transposed: true,
            })
          : gatherRows(
              hidden,
              input("wanted", "i32", [new Dimension("wanted", pooling === "all" ? bound : MOST_SEQUENCES)]),
            );
      return { vectors: head ? classifierLogits(forward, model.config, made) : made };
    }),
  );
}
