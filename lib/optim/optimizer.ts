import {
  accumulate,
  adamw,
  assign,
  clipFactor,
  compile,
  type Device,
  type Executable,
  globalNorm,
  input,
  Tensor,
  tensor,
  type Value,
} from "../graph/index.ts";
import { checkMuon, MUON_DEFAULTS, type MuonOptions, muon } from "./muon.ts";

/** Hyper-parameters of AdamW (Loshchilov & Hutter 2019). */
export interface AdamWOptions {
  beta1?: number;
  beta2?: number;
  eps?: number;
  weightDecay?: number;
  /** Largest global L2 norm of the gradient; 0 clips nothing. */
  maxGradNorm?: number;
}

export interface OptimizerOptions extends AdamWOptions {
  /** Some matrices by Muon; the gradient's norm and its clipping are over all parameters. */
  muon?: MuonOptions | undefined;
}

export const ADAMW_DEFAULTS = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 } as const;

/** Whether a parameter is a matrix, or a stack of them. Biases of experts are as many vectors; an adapter may be named bias. */
function decays(name: string, shape: readonly number[]): boolean {
  return shape.length >= 2 && !/(?<!\.lora_[AB])\.bias$/.test(name);
}

/**
 * AdamW over named f32 parameters, or Muon for some of them: gradients and moments are persistent tensors beside them. AdamW's decay
 * applies to matrices only (embeddings included), not to norms and biases.
 */
export class Optimizer {
  readonly names: readonly string[];
  /** Gradients by `gradient.<name>`: what the step's program accumulates into. */
  readonly gradients = new Map<string, Tensor>();
  /** AdamW's first and second moments by `m.<name>` and `v.<name>`, Muon's by `momentum.<name>`: what a checkpoint keeps. */
  readonly moments = new Map<string, Tensor>();
  /** Updates done; the bias correction's exponent. */
  steps = 0;
  private readonly options: Required<AdamWOptions>;
  private readonly muon: Required<Omit<MuonOptions, "transposed">> | undefined;
  private readonly norm: Executable<{ gradNorm: Value }>;
  private readonly update: Executable<Record<string, never>>;

  constructor(device: Device, parameters: ReadonlyMap<string, Tensor>, options: OptimizerOptions = {}) {
    const { muon: muonOptions, ...adamwOptions } = options;
    if (muonOptions) checkMuon(muonOptions);
    this.options = { ...ADAMW_DEFAULTS, ...adamwOptions };
    const byMuon = (name: string) => muonOptions?.names.has(name) ?? false;
    this.names = [...parameters.keys()];
    this.muon = muonOptions && this.names.some(byMuon) ? { ...MUON_DEFAULTS, ...muonOptions } : undefined;
    for (const [name, { shape }] of parameters) {
      this.gradients.set(`gradient.${name}`, Tensor.zeros(device, "f32", shape));
      for (const m of byMuon(name) ? ["momentum"] : ["m", "v"])
        this.moments.set(`${m}.${name}`, Tensor.zeros(device, "f32", shape));
    }
    const value = (name: string, like: Tensor) => tensor(name, "f32", like.shape);
    // On its own, so that a gradient that is not finite can be refused before it has touched anything.
    const norm = compile(() => ({
      gradNorm: globalNorm([...parameters].map(([n, p]) => value(`gradient.${n}`, p))),
    }));
    const update = compile(() => {
      const hyper = input("hyper", "f32", [7]);
      const factor = clipFactor(input("gradNorm", "f32", [1]), input("maxGradNorm", "f32", [1]));
      for (const [n, p] of parameters) {
        const shared = { parameter: value(n, p), gradient: value(`gradient.${n}`, p), factor };
        if (byMuon(n)) {
          const transposed = muonOptions?.transposed?.has(n) ?? false;
          muon({ ...shared, momentum: value(`momentum.${n}`, p) }, { momentum: this.muon!.momentum, transposed });
        } else {
          const moments = { m: value(`m.${n}`, p), v: value(`v.${n}`, p) };
          adamw({ ...shared, ...moments, hyper }, { decay: decays(n, p.shape) });
        }
      }
      return {};
    });
    this.norm = norm.bind(device, this.gradients);
    this.update = update.bind(device, new Map([...parameters, ...this.gradients, ...this.moments]));
  }

  /** Inside a trace: a gradient enters its tensor, over what was there or, with `keep` (1, of 1), added to it. */
  static collect(name: string, gradient: Value, keep?: Value): void {
    const state = tensor(`gradient.${name}`, "f32", gradient.shape);
    if (keep) accumulate(state, gradient, keep);
    else assign(state, gradient);
  }

  /**
   * Updates the parameters from the gradients. Where these are not all finite, nothing changes: one NaN among them, scaled by
   * their norm, would become every weight's.
   * @param learningRate AdamW's; Muon's is `rateRatio` times it
   * @returns the gradients' L2 norm before clipping
   */
  async step(learningRate: number): Promise<number> {
    const { gradNorm } = await this.norm.run({});
    if (!Number.isFinite(gradNorm[0])) return gradNorm[0]!;
    const { beta1, beta2, eps, weightDecay, maxGradNorm } = this.options;
    const t = this.steps + 1;
    const hyper = Float32Array.of(learningRate, beta1, beta2, eps, weightDecay, 1 - beta1 ** t, 1 - beta2 ** t);
    const inputs = { hyper, gradNorm, maxGradNorm: Float32Array.of(maxGradNorm), ...this.muonInputs(learningRate) };
    await this.update.run(inputs);
    this.steps = t;
    return gradNorm[0]!;
  }

  private muonInputs(learningRate: number): Record<string, Float32Array> {
    if (!this.muon) return {};
    const rate = learningRate * this.muon.rateRatio;
    return {
      "muon.momentum": Float32Array.of(this.muon.momentum),
      "muon.keep": Float32Array.of(1 - rate * this.muon.weightDecay),
      "muon.rate": Float32Array.of(-rate),
    };
  }

  dispose(): void {
    this.norm.dispose();
    this.update.dispose();
    for (const t of [...this.gradients.values(), ...this.moments.values()]) t.dispose();
  }
}
