// A StableLM reference for examples/custom-family.ts in plain loops and double precision, following transformers' modeling_stablelm.py.

export interface StableLm {
  hidden: number;
  inner: number;
  layers: number;
  heads: number;
  keyHeads: number;
  rotary: number;
  theta: number;
  eps: number;
  parallel: boolean;
}

type Weights = ReadonlyMap<string, Float32Array>;

function matmul(x: number[][], weights: Weights, name: string): number[][] {
  const w = weights.get(`${name}.weight`)!;
  const bias = weights.get(`${name}.bias`);
  const inputs = x[0]!.length;
  return x.map((row) =>
    Array.from({ length: w.length / inputs }, (_, o) => {
      let sum = bias?.[o] ?? 0;
      for (let i = 0; i < inputs; i++) sum += row[i]! * w[o * inputs + i]!;
      return sum;
    }),
  );
}

function norm(x: number[][], weights: Weights, name: string, eps: number): number[][] {
  return x.map((row) => {
    const mean = row.reduce((a, b) => a + b, 0) / row.length;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
    const [w, b] = [weights.get(`${name}.weight`)!, weights.get(`${name}.bias`)!];
    return row.map((v, i) => ((v - mean) / Math.sqrt(variance + eps)) * w[i]! + b[i]!);
  });
}

const add = (a: number[][], b: number[][]) => a.map((row, r) => row.map((v, i) => v + b[r]![i]!));

/** Applies RoPE to a head's first `rotary` dimensions, in pairs (i, i + rotary / 2). */
function rotate(head: number[], position: number, { rotary, theta }: StableLm): number[] {
  const out = [...head];
  for (let i = 0; i < rotary / 2; i++) {
    const angle = position * theta ** ((-2 * i) / rotary);
    const [a, b] = [head[i]!, head[i + rotary / 2]!];
    out[i] = a * Math.cos(angle) - b * Math.sin(angle);
    out[i + rotary / 2] = b * Math.cos(angle) + a * Math.sin(angle);
  }
  return out;
}

function attention(x: number[][], weights: Weights, prefix: string, model: StableLm): number[][] {
  const width = model.hidden / model.heads;
  const [q, k, v] = ["q", "k", "v"].map((name) => matmul(x, weights, `${prefix}.${name}_proj`)) as [
    number[][],
    number[][],
    number[][],
  ];
  const headOf = (row: number[], h: number) => row.slice(h * width, (h + 1) * width);
  const mixed = x.map((_, t) =>
    Array.from({ length: model.heads }, (_, h) => {
      const group = Math.floor((h * model.keyHeads) / model.heads);
      const query = rotate(headOf(q[t]!, h), t, model);
      const scores = x.slice(0, t + 1).map((_, s) => {
        const key = rotate(headOf(k[s]!, group), s, model);
        return query.reduce((sum, value, i) => sum + value * key[i]!, 0) / Math.sqrt(width);
      });
      const most = Math.max(...scores);
      const exponentials = scores.map((score) => Math.exp(score - most));
      const total = exponentials.reduce((a, b) => a + b, 0);
      return Array.from({ length: width }, (_, i) =>
        exponentials.reduce((sum, share, s) => sum + (share / total) * headOf(v[s]!, group)[i]!, 0),
      );
    }).flat(),
  );
  return matmul(mixed, weights, `${prefix}.o_proj`);
}

/** Logits of every position. */
export function stableLmLogits(weights: Weights, ids: readonly number[], model: StableLm): number[][] {
  const table = weights.get("model.embed_tokens.weight")!;
  let x = ids.map((id) => Array.from(table.slice(id * model.hidden, (id + 1) * model.hidden)));
  for (let i = 0; i < model.layers; i++) {
    const layer = `model.layers.${i}`;
    const normed = norm(x, weights, `${layer}.input_layernorm`, model.eps);
    const attended = add(x, attention(normed, weights, `${layer}.self_attn`, model));
    const y = model.parallel ? normed : norm(attended, weights, `${layer}.post_attention_layernorm`, model.eps);
    const [gate, up] = ["gate", "up"].map((name) => matmul(y, weights, `${layer}.mlp.${name}_proj`)) as [
      number[][],
      number[][],
    ];
    const inner = gate.map((row, r) => row.map((g, j) => (g / (1 + Math.exp(-g))) * up[r]![j]!));
    x = add(attended, matmul(inner, weights, `${layer}.mlp.down_proj`));
  }
  return matmul(norm(x, weights, "model.norm", model.eps), weights, "lm_head");
}
