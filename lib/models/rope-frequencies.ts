import { HeddleError } from "../errors.ts";
import { llama3Factors, type RopeScaling } from "../formats/rope-scaling.ts";

/**
 * Angles per position of each rotated pair: θ^(−2i/width), divided as the configuration's scaling says.
 * @returns (width / 2), radians per position
 * @throws HeddleError UNSUPPORTED for a kind of scaling that is not provided
 */
export function ropeFrequencies(width: number, theta: number, scaling: RopeScaling | null): Float32Array {
  const divisors = scaling ? divisorsOf(scaling, width, theta) : undefined;
  return Float32Array.from({ length: width / 2 }, (_, i) => theta ** ((-2 * i) / width) / (divisors?.[i] ?? 1));
}

function divisorsOf(scaling: RopeScaling, width: number, theta: number): ArrayLike<number> {
  switch (scaling.ropeType) {
    case "linear":
      return new Float32Array(width / 2).fill(scaling.factor);
    case "llama3":
      return llama3Factors(scaling, width, theta);
    case "factors":
      return scaling.factors;
    default:
      throw new HeddleError("UNSUPPORTED", `rope_scaling: expected linear, llama3 or factors, got ${scaling.ropeType}`);
  }
}
