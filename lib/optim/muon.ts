import { invalidArgument } from "../core/errors.ts";
import {
  accumulate,
  add,
  affine,
  broadcast,
  globalNorm,
  input,
  linear,
  mul,
  reciprocal,
  scale,
  transposedProduct,
  type Value,
} from "../graph/index.ts";

/** Returns the numbers of rows and columns of a matrix. */
const sizes = (matrix: Value): [number, number] => [matrix.dim(0) as number, matrix.dim(1) as number];

/** Hyper-parameters of Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"). */
export interface MuonOptions {
  /** Names of the matrices that Muon updates. AdamW updates all other parameters. */
  names: ReadonlySet<string>;
  /** The names of matrices in `names` that are stored as (inputs, outputs). */
  transposed?: ReadonlySet<string>;
  /** Muon's learning rate as a multiple of AdamW's. */
  rateRatio: number;
  /** Coefficient of Nesterov momentum. Default 0.95. */
  momentum?: number;
  /** Decoupled weight decay, which is multiplied by Muon's learning rate. Default 0. */
  weightDecay?: number;
}

/** Defaults of `MuonOptions`. */
export const MUON_DEFAULTS = { momentum: 0.95, weightDecay: 0 } as const;

/** Coefficients of the reference implementation's quintic. It is steep at 0, so that five steps bring every singular value near 1. */
const [A, B, C] = [3.4445, -4.775, 2.0315] as const;
const STEPS = 5;
const EPSILON = 1e-7;

/**
 * Approximates the nearest matrix with orthogonal rows or columns by five Newton–Schulz steps from X = G / ‖G‖: X ← aX + (b·XXᵀ +
 * c·(XXᵀ)²)X.
 * Singular values end within about 0.7 to 1.2.
 * @param g (rows, columns) f32 @returns (rows, columns)
 */
export function orthogonalized(g: Value): Value {
  const [rows, columns] = sizes(g);
  const norm = affine(globalNorm([g]), 1, EPSILON);
  let x = mul(g, broadcast(reciprocal(norm), g.shape));
  for (let i = 0; i < STEPS; i++) {
    // Use the smaller of the two Gram matrices. It is symmetric, so a product with its transpose is a product with itself.
    const gram = rows <= columns ? linear(x, x) : transposedProduct(x, x);
    const polynomial = add(scale(gram, B), scale(linear(gram, gram), C));
    const product = rows <= columns ? linear(polynomial, x, undefined, { transposed: true }) : linear(x, polynomial);
    x = add(scale(x, A), product);
  }
  return x;
}

/**
 * Adds one in-place Muon step to a trace. The momentum is m ← μ·m + (1 − μ)·g. Nesterov's update is u = μ·m + (1 −
 * μ)·g. The weights are w ← (1 − η·λ)·w − η·√max(1, outputs / inputs) · orthogonalized(u). The program gets an input
 * `muon.momentum`, (1) f32.
 * @param operands.factor (1) f32, factor of the gradient (for clipping)
 * @param operands.keep (1) f32, 1 − η·λ @param operands.rate (1) f32, −η
 */
export function muon(
  operands: { parameter: Value; gradient: Value; momentum: Value; factor: Value; keep: Value; rate: Value },
  { momentum, transposed }: { momentum: number; transposed: boolean },
): void {
  const { parameter, gradient, momentum: buffer, factor } = operands;
  const [rows, columns] = sizes(parameter);
  const own = scale(mul(gradient, broadcast(factor, gradient.shape)), 1 - momentum);
  accumulate(buffer, own, input("muon.momentum", "f32", [1]));
  const update = orthogonalized(add(own, scale(buffer, momentum)));
  const size = Math.sqrt(Math.max(1, transposed ? columns / rows : rows / columns));
  const rate = broadcast(operands.rate, parameter.shape);
  accumulate(parameter, mul(scale(update, size), rate), operands.keep);
}

/** Checks Muon's options. @throws HeddleError INVALID_ARGUMENT */
export function checkMuon({ rateRatio, momentum = MUON_DEFAULTS.momentum }: MuonOptions): void {
  if (!(rateRatio > 0 && Number.isFinite(rateRatio)))
    throw invalidArgument("muon.rateRatio", "a number above 0", rateRatio);
  if (!(momentum >= 0 && momentum < 1)) throw invalidArgument("muon.momentum", "a number from 0 to below 1", momentum);
}
