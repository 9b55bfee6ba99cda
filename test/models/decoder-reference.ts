// A reference of lib/nn/decoder.ts with all flags, in plain loops and double precision.
import type { DecoderWeightFlags } from "../../lib/models/decoder-weights.ts";

export interface ReferenceSizes {
  width: number;
  layers: number;
  heads: number;
  keyHeads: number;
  headDim: number;
  theta: number;
  eps: number;
  residualScale: number;
}

type Rows = number[][];

/** The weights of a decoder. `read` has the names of the weights that were read. */
export class ReferenceWeights {
  readonly read = new Set<string>();

  constructor(private readonly values: ReadonlyMap<string, Float32Array>) {}

  get(name: string): Float32Array {
    const found = this.values.get(name);
    if (!found) throw new Error(`the reference expects a weight ${name}`);
    this.read.add(name);
    return found;
  }

  optional(name: string): Float32Array | undefined {
    return this.values.has(name) ? this.get(name) : undefined;
  }
}

const DEFAULT_NAMES = {
  embedding: "model.embed_tokens",
  layers: "model.layers",
  norm: "model.norm",
  head: "lm_head",
  attention: "self_attn",
  qkv: "qkv_proj",
  output: "o_proj",
  queryNorm: "q_norm",
  keyNorm: "k_norm",
  mlp: "mlp",
  gateUp: "gate_up_proj",
  down: "down_proj",
  beforeAttention: "input_layernorm",
  afterAttention: "post_attention_layernorm",
  beforeMlp: "pre_feedforward_layernorm",
  afterMlp: "post_feedforward_layernorm",
};

/** Logits of every position. */
export function decoderLogits(
  weights: ReferenceWeights,
  ids: readonly number[],
  flags: DecoderWeightFlags,
  sizes: ReferenceSizes,
): Rows {
  const { norms = "before", parallel } = flags;
  const names = {
    ...DEFAULT_NAMES,
    ...(norms === "before" && { beforeMlp: DEFAULT_NAMES.afterAttention }),
    ...flags.names,
  };
  const table = weights.get(`${names.embedding}.weight`);
  let x: Rows = ids.map((id) => Array.from(table.slice(id * sizes.width, (id + 1) * sizes.width)));
  const norm = (rows: Rows, name: string) =>
    rows.map((row) => normalized(row, weights, name, flags, sizes.eps, flags.layerNorm === "biased"));
  for (let i = 0; i < sizes.layers; i++) {
    const layer = `${names.layers}.${i}`;
    const before = (rows: Rows, name: string) => (norms === "after" ? rows : norm(rows, `${layer}.${name}`));
    const after = (rows: Rows, name: string) =>
      (norms === "before" ? rows : norm(rows, `${layer}.${name}`)).map((row) =>
        row.map((v) => v * sizes.residualScale),
      );
    const attend = (rows: Rows) => attention(rows, weights, `${layer}.${names.attention}`, names, flags, sizes);
    const feed = (rows: Rows) => feedForward(rows, weights, `${layer}.${names.mlp}`, names, flags);
    const input = before(x, names.beforeAttention);
    const attended = after(attend(input), names.afterAttention);
    if (parallel) {
      const other = parallel === "one norm" ? input : before(x, names.beforeMlp);
      x = add(add(x, attended), after(feed(other), names.afterMlp));
    } else {
      x = add(x, attended);
      x = add(x, after(feed(before(x, names.beforeMlp)), names.afterMlp));
    }
  }
  return product(norm(x, names.norm), weights, names.head);
}

const add = (a: Rows, b: Rows): Rows => a.map((row, r) => row.map((v, i) => v + b[r]![i]!));

function product(x: Rows, weights: ReferenceWeights, name: string): Rows {
  const w = weights.get(`${name}.weight`);
  const bias = weights.optional(`${name}.bias`);
  return x.map((row) =>
    Array.from({ length: w.length / row.length }, (_, o) =>
      row.reduce((sum, v, i) => sum + v * w[o * row.length + i]!, bias?.[o] ?? 0),
    ),
  );
}

/** RMSNorm or LayerNorm of one vector. */
function normalized(
  row: readonly number[],
  weights: ReferenceWeights,
  name: string,
  { layerNorm, normOffset = 0 }: DecoderWeightFlags,
  eps: number,
  biased: boolean,
): number[] {
  const w = weights.get(`${name}.weight`);
  const b = biased ? weights.get(`${name}.bias`) : undefined;
  return standardize(row, eps, layerNorm !== undefined).map((v, i) => v * (normOffset + w[i]!) + (b?.[i] ?? 0));
}

function standardize(row: readonly number[], eps: number, centered: boolean): number[] {
  const mean = centered ? row.reduce((a, b) => a + b, 0) / row.length : 0;
  const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
  return row.map((v) => (v - mean) / Math.sqrt(variance + eps));
}

type Names = typeof DEFAULT_NAMES & NonNullable<DecoderWeightFlags["names"]>;

/** q, k and v of all rows: [row][head][dimension]. */
function projected(
  x: Rows,
  weights: ReferenceWeights,
  prefix: string,
  names: Names,
  { fused }: DecoderWeightFlags,
  { heads, keyHeads, headDim }: ReferenceSizes,
): Rows[][] {
  const cut = (row: number[], count: number, start = 0, step = headDim) =>
    Array.from({ length: count }, (_, h) => row.slice(start + h * step, start + h * step + headDim));
  if (fused === "qkv by head") {
    const all = product(x, weights, `${prefix}.${names.qkv}`);
    return [0, 1, 2].map((part) => all.map((row) => cut(row, heads, part * headDim, 3 * headDim)));
  }
  if (fused === true) {
    const all = product(x, weights, `${prefix}.${names.qkv}`);
    const [q, kv] = [heads * headDim, keyHeads * headDim];
    return [
      all.map((row) => cut(row, heads)),
      all.map((row) => cut(row, keyHeads, q)),
      all.map((row) => cut(row, keyHeads, q + kv)),
    ];
  }
  return (["q", "k", "v"] as const).map((name) =>
    product(x, weights, `${prefix}.${name}_proj`).map((row) => cut(row, name === "q" ? heads : keyHeads)),
  );
}

function attention(
  x: Rows,
  weights: ReferenceWeights,
  prefix: string,
  names: Names,
  flags: DecoderWeightFlags,
  sizes: ReferenceSizes,
): Rows {
  const [q, k, v] = projected(x, weights, prefix, names, flags, sizes) as [Rows[], Rows[], Rows[]];
  const normAndRotate = (vectors: Rows[], name: string) =>
    vectors.map((heads, position) => {
      const rotateHead = (head: number[]) => rotate(head, position, sizes.theta, flags.interleaved === true);
      const biased = flags.layerNorm === "biased";
      const norm = (row: number[]) => normalized(row, weights, name, flags, sizes.eps, biased);
      switch (flags.queryNorm) {
        case "head":
          return heads.map((head) => rotateHead(norm(head)));
        case "head after rope":
          return heads.map((head) => norm(rotateHead(head)));
        case "width": {
          const all = norm(heads.flat());
          return heads.map((head, h) => rotateHead(all.slice(h * head.length, (h + 1) * head.length)));
        }
        case "each head": {
          const w = weights.get(`${name}.weight`);
          return heads.map((head, h) =>
            rotateHead(
              standardize(head, sizes.eps, true).map((v, i) => v * ((flags.normOffset ?? 0) + w[h * head.length + i]!)),
            ),
          );
        }
        default:
          return heads.map(rotateHead);
      }
    });
  const queries = normAndRotate(q, `${prefix}.${names.queryNorm}`);
  const keys = normAndRotate(k, `${prefix}.${names.keyNorm}`);
  const sinks = flags.sinks ? weights.get(`${prefix}.sinks`) : undefined;
  const group = sizes.heads / sizes.keyHeads;
  const attended = x.map((_, t) =>
    Array.from({ length: sizes.heads }, (_, h) => {
      const at = Math.floor(h / group);
      const exponentials = keys
        .slice(0, t + 1)
        .map((key) => Math.exp(dot(queries[t]![h]!, key[at]!) / Math.sqrt(sizes.headDim)));
      const total = exponentials.reduce((a, b) => a + b, sinks ? Math.exp(sinks[h]!) : 0);
      return Array.from({ length: sizes.headDim }, (_, i) =>
        exponentials.reduce((sum, share, s) => sum + (share / total) * v[s]![at]![i]!, 0),
      );
    }).flat(),
  );
  return product(attended, weights, `${prefix}.${names.output}`);
}

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, v, i) => sum + v * b[i]!, 0);

/** Applies RoPE to a head. Pairs are (i, i + half), or neighbors if `interleaved`. */
function rotate(head: number[], position: number, theta: number, interleaved: boolean): number[] {
  const out = [...head];
  const half = head.length / 2;
  for (let i = 0; i < half; i++) {
    const [a, b] = interleaved ? [2 * i, 2 * i + 1] : [i, i + half];
    const angle = position * theta ** (-i / half);
    out[a] = head[a]! * Math.cos(angle) - head[b]! * Math.sin(angle);
    out[b] = head[b]! * Math.cos(angle) + head[a]! * Math.sin(angle);
  }
  return out;
}

function feedForward(
  x: Rows,
  weights: ReferenceWeights,
  prefix: string,
  names: Names,
  { fused }: DecoderWeightFlags,
): Rows {
  let [gate, up]: [Rows, Rows] = [[], []];
  if (fused === true || fused === "gate_up") {
    const both = product(x, weights, `${prefix}.${names.gateUp}`);
    const half = both[0]!.length / 2;
    [gate, up] = [both.map((row) => row.slice(0, half)), both.map((row) => row.slice(half))];
  } else {
    gate = product(x, weights, `${prefix}.gate_proj`);
    up = product(x, weights, `${prefix}.up_proj`);
  }
  const inner = gate.map((row, r) => row.map((g, i) => (g / (1 + Math.exp(-g))) * up[r]![i]!));
  return product(inner, weights, `${prefix}.${names.down}`);
}
