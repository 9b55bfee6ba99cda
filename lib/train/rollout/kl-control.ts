import { HeddleError } from "../../core/errors.ts";

/**
 * Returns an estimate of a token's divergence, computed from its log-probabilities (Schulman 2020, "Approximating KL
 * divergence").
 */
export function klOf(logprob: number, reference: number, estimator: "k1" | "k3"): number {
  const apart = reference - logprob;
  return estimator === "k1" ? -apart : Math.exp(apart) - 1 - apart;
}

/** The weight of the divergence from the reference: constant, or adapted to reach a target (Ziegler et al. 2019). */
export class KlControl {
  coefficient: number;
  private readonly target: number | undefined;
  private readonly horizon: number;

  constructor({ klCoef, klTarget, klHorizon }: { klCoef: number; klTarget?: number | undefined; klHorizon: number }) {
    this.coefficient = klCoef;
    this.target = klTarget;
    this.horizon = klHorizon;
  }

  /** Updates the coefficient after `answers` answers with this mean divergence. */
  follow(kl: number, answers: number): void {
    if (this.target === undefined) return;
    // As in the paper, the relative error is clipped to ±0.2.
    const error = Math.min(0.2, Math.max(-0.2, kl / Math.max(this.target, 1e-9) - 1));
    this.coefficient *= 1 + (error * answers) / this.horizon;
  }

  restore(coefficient: unknown): void {
    if (typeof coefficient !== "number" || !(coefficient >= 0))
      throw new HeddleError("INVALID_FILE", `checkpoint: expected a klCoef of at least 0, got ${coefficient}`);
    this.coefficient = coefficient;
  }
}
