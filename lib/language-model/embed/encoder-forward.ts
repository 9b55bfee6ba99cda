import { raceAbort } from "../../core/race-abort.ts";
import { firstPosition } from "../../formats/config/positions.ts";
import {
  compile,
  Dimension,
  gatherRows,
  type Inputs,
  input,
  linear,
  type Program,
  type Results,
} from "../../graph/index.ts";
import {
  groupsOf,
  modesOf,
  type PooledRows,
  placeInto,
  pooledRows,
  poolingMatrix,
  type TextStretch,
  vectorsOf,
} from "../../inference/pooling.ts";
import { rowInputs, sequenceForward } from "../../models/forward.ts";
import { classifierLogits } from "../../models/heads.ts";
import { holding, type ModelView } from "../../models/model-view.ts";
import { placesFor } from "../../nn/relative-bias.ts";
import type { PooledOptions } from "./text-forward.ts";

/** Maximum rows of a run, unless a single sequence is longer. */
const MAX_ROWS = 1024;
/** Maximum number of sequences of a run. */
const MAX_SEQUENCES = 64;
/**
 * Maximum number of rows of a run whose executable is kept for the next run. Executables of larger runs hold too much
 * memory, and creating them takes little of their run time.
 */
const KEPT_ROWS = 128;

type EncodeOptions = Omit<PooledOptions, "contextLength">;

/**
 * Computes the vectors of a bidirectional model, one per sequence. With pooling `all`, returns the
 * concatenated vectors of a sequence's tokens. Sequences share a run without padding, as documents that do not attend to each other.
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
  const { promptLengths = [], typeIds } = options;
  const out: Float32Array[] = new Array(sequences.length);
  for (const group of groupsOf(sequences, { sequences: MAX_SEQUENCES, rows: MAX_ROWS })) {
    const results = await runGroup(
      model,
      group.map((i) => sequences[i]!),
      group.map((i) => promptLengths[i] ?? 0),
      { ...options, typeIds: typeIds && group.map((i) => typeIds[i]!) },
    );
    await placeInto(out, group, results, { ...options, width: model.config.hiddenSize });
  }
  return out;
}

/**
 * Returns the maximum number of rows that a program is planned for. One program serves all runs except those of a text longer than
 * MAX_ROWS.
 */
function maxRowsFor(rows: number): number {
  let maxRows = MAX_ROWS;
  while (maxRows < rows) maxRows *= 2;
  return maxRows;
}

async function runGroup(
  model: ModelView,
  sequences: readonly ArrayLike<number>[],
  promptLengths: readonly number[],
  { pooling, head = false, typeIds, signal }: EncodeOptions,
): Promise<Float32Array[]> {
  const rows = sequences.reduce((n, { length }) => n + length, 0);
  const kind = pooledRows(pooling);
  const [ids, positions] = [new Int32Array(rows), new Int32Array(rows)];
  const documents = new Int32Array(rows);
  const lengths = new Int32Array(rows);
  const tokenTypes = new Int32Array(rows);
  // Tokenizers number the texts of a pair even for models with a single type, such as RoBERTa.
  const types = (model.config.typeVocabSize ?? 1) > 1 ? typeIds : undefined;
  const wanted: number[] = [];
  const stretches: TextStretch[] = [];
  const begin = firstPosition(model.config);
  let first = 0;
  for (const [s, sequence] of sequences.entries()) {
    const { length } = sequence;
    for (let i = 0; i < length; i++) {
      ids[first + i] = sequence[i]!;
      positions[first + i] = begin + i;
    }
    if (types) tokenTypes.set(types[s]!, first);
    documents.fill(s, first, first + length);
    lengths.fill(length, first, first + length);
    if (kind === "all") for (let i = 0; i < length; i++) wanted.push(first + i);
    else wanted.push(kind === "last" ? first + length - 1 : first);
    stretches.push({ tokens: length, begin: 0, count: length, from: promptLengths[s]! });
    first += length;
  }
  const byDistance = model.family.encoder?.byDistance;
  const shape = {
    maxRows: maxRowsFor(rows),
    longest: byDistance ? placesFor(sequences.reduce((most, { length }) => Math.max(most, length), 0)) : undefined,
    kind,
    modes: modesOf(pooling).length,
    head,
  };
  const program = encodeProgram(model, shape);
  const inputs: Inputs = {
    ids,
    positions,
    documents,
    ...(program.inputNames.has("tokenTypes") && { tokenTypes }),
    ...(program.inputNames.has("lengths") && { lengths }),
    ...(kind === "sums" ? { pool: poolingMatrix(stretches, pooling) } : { wanted: Int32Array.from(wanted) }),
  };
  const bind = () => program.bind(model.device, model.tensors);
  const key = encodeKey(model, shape);
  const executable = rows > KEPT_ROWS ? bind() : model.takeBound(key, bind);
  let done = false;
  try {
    const { vectors } = await raceAbort(executable.run(inputs, { signal }), signal);
    done = true;
    const counts = sequences.map((sequence) => (kind === "all" ? sequence.length : 1));
    return vectorsOf(vectors as Float32Array, counts);
  } finally {
    if (done && rows <= KEPT_ROWS) model.keepBound(key, executable);
    else executable.dispose();
  }
}

interface EncodeShape {
  kind: PooledRows;
  /** Number of pooling modes. */
  modes: number;
  /** Maximum number of rows. */
  maxRows: number;
  /** Maximum number of tokens of a text, if the family's programs depend on it. */
  longest: number | undefined;
  head: boolean;
}

function encodeKey(model: ModelView, { maxRows, longest = 0, kind, modes, head }: EncodeShape): string {
  return ["encode", maxRows, longest, kind, modes, head, ...model.activeAdapters].join("/");
}

function encodeProgram(model: ModelView, shape: EncodeShape): Program {
  const { maxRows, longest, kind, modes, head } = shape;
  return model.cached(encodeKey(model, shape), () =>
    compile((): Results => {
      const rows = new Dimension("rows", maxRows);
      const forward = sequenceForward(model, rowInputs(rows), {
        documents: input("documents", "i32", [rows]),
        longest,
        activations: model.quantizedActivations,
        asStored: true,
      });
      const { hidden } = forward;
      const made =
        kind === "sums"
          ? linear(input("pool", "f32", [new Dimension("sums", MAX_SEQUENCES * modes), rows]), hidden, undefined, {
              transposed: true,
            })
          : gatherRows(
              hidden,
              input("wanted", "i32", [new Dimension("wanted", kind === "all" ? maxRows : MAX_SEQUENCES)]),
            );
      return { vectors: head ? classifierLogits(forward, model.config, made) : made };
    }),
  );
}
