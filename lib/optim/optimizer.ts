import {
  accumulate,
  adamw,
  allReduce,
  assign,
  cast,
  clipFactor,
  compile,
  type Device,
  type Executable,
  globalNorm,
  input,
  reduceScatter,
  Tensor,
  tensor,
  type Value,
} from "../graph/index.ts";
import { divideTensor } from "../graph/trace.ts";
import { checkMuon, MUON_DEFAULTS, type MuonOptions, muon } from "./muon.ts";
import { cutPiece, isDivisible, type Piece, partition, rangesOf } from "./partition.ts";
import { SharedNorm } from "./square-sums.ts";

/** Hyper-parameters of AdamW (Loshchilov & Hutter 2019). */
interface AdamWOptions {
  beta1?: number;
  beta2?: number;
  eps?: number;
  weightDecay?: number;
  /** Maximum global L2 norm of the gradient; 0: no clipping. */
  maxGradNorm?: number;
}

/** Parameters with a separate rate or decay. */
export interface OptimizerGroup {
  names: ReadonlySet<string>;
  /** Factor of the learning rate of these parameters, or of Muon's rate for Muon's matrices. Default 1. */
  rateRatio?: number | undefined;
  /**
   * Replaces the optimizer's weightDecay, or Muon's weightDecay for Muon's matrices. It applies to the whole group,
   * vectors included, as in PyTorch's groups.
   */
  weightDecay?: number | undefined;
}

/** Options of `Optimizer`. */
export interface OptimizerOptions extends AdamWOptions {
  /** Groups with their own rate or decay. A parameter may be in at most one group. */
  groups?: readonly OptimizerGroup[] | undefined;
  /** Options of Muon, for some matrices. The gradient's norm and clipping still span all parameters. */
  muon?: MuonOptions | undefined;
  /** The ranks that share the state. Each updates only its part of the parameters. Default: this process has all of it. */
  ranks?: OptimizerRanks | undefined;
  /**
   * Whether this rank keeps only its part of the gradients. The programs that compute gradients then sum them over all
   * ranks. Default false: the caller sums them.
   */
  dividesGradients?: boolean | undefined;
  /**
   * Whether the optimizer has separate tensors for this rank's parts of the large parameters. It then updates these
   * tensors instead of the parameters. The caller fills them, and frees the parameters. Needs `dividesGradients`. Default false.
   */
  dividesParameters?: boolean | undefined;
}

/** Ranks that share the optimizer's state. */
interface OptimizerRanks {
  rank: number;
  size: number;
  /** Sums numbers over all ranks. */
  sum(values: readonly number[]): Promise<number[]>;
}

/** Optimizer state of one parameter. */
export interface StateTensor {
  /** Shape of the parameter. */
  shape: readonly number[];
  /** This rank's part of the state, from element `start` on. Undefined if it has none. */
  own: { tensor: Tensor; start: number } | undefined;
}

const ADAMW_DEFAULTS = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 } as const;

/** Least size of a batch of gradients that CPU ranks exchange at once (native/distributed/rank_thread_sums.cc). */
const EXCHANGE_BYTES = 4 * 2 ** 20;

/**
 * Whether weight decay applies to a parameter. Matrices and stacks of matrices decay. Biases of experts and norms of
 * heads have two dimensions too, but are stacks of vectors, and do not decay. LoRA matrices of a module named `bias`
 * decay.
 */
function decays(name: string, shape: readonly number[]): boolean {
  return shape.length >= 2 && !/(?<!\.lora_[AB])\.bias$|\.[qk]_norm\.weight$/.test(name);
}

/**
 * AdamW over named f32 parameters, or Muon for some of them. Gradients and moments are persistent tensors. AdamW's decay applies only to
 * matrices (embeddings included), not to norms and biases, unless their group has a separate decay.
 */
export class Optimizer {
  readonly names: readonly string[];
  /** Gradients by `gradient.<name>`. The step's program accumulates into them. With `dividesGradients`, they are this rank's pieces. */
  readonly gradients = new Map<string, Tensor>();
  /** Whether this rank keeps only its part of the gradients. */
  readonly dividesGradients: boolean;
  /**
   * Optimizer state of this rank: AdamW's moments as `m.<name>` and `v.<name>`, and Muon's momentum as `momentum.<name>`. It has only this
   * rank's piece of a parameter that ranks share.
   */
  readonly moments = new Map<string, Tensor>();
  /** Names of the parameters of which this rank keeps only its part, in `weights`. Empty without `dividesParameters`. */
  readonly divided: ReadonlySet<string>;
  /** This rank's parts of the divided parameters, by `part.<name>`. */
  readonly weights = new Map<string, Tensor>();
  /** Optimizer state of all ranks, by the same names. Checkpoints store it. */
  readonly state = new Map<string, StateTensor>();
  /** The elements that each rank updates, by rank. */
  readonly parts: readonly (readonly Piece[])[];
  /** Number of elements of the largest parameter. */
  private readonly largest: number;
  private readonly isOnAccelerator: boolean;
  /** Number of updates, the exponent of the bias correction. */
  steps = 0;
  private readonly options: Required<AdamWOptions>;
  private readonly muon: Required<Omit<MuonOptions, "transposed">> | undefined;
  /** The first group holds the parameters that are in none of the caller's groups. */
  private readonly groups: readonly Omit<OptimizerGroup, "names">[];
  private readonly norm: Executable<{ gradNorm: Value }> | SharedNorm;
  /** Views of the parameters and gradients of which this rank has only a piece. */
  private readonly views: Tensor[] = [];
  private readonly update: Executable<Record<string, never>>;

  constructor(device: Device, parameters: ReadonlyMap<string, Tensor>, options: OptimizerOptions = {}) {
    const { muon: muonOptions, groups = [], ranks, dividesGradients = false, ...more } = options;
    const { dividesParameters = false, ...adamwOptions } = more;
    if (muonOptions) checkMuon(muonOptions);
    this.dividesGradients = dividesGradients && ranks !== undefined;
    this.divided = new Set(
      dividesParameters ? [...parameters].filter(([, p]) => isDivisible(p.elements)).map(([name]) => name) : [],
    );
    this.isOnAccelerator = device.kind !== "cpu";
    this.largest = Math.max(0, ...[...parameters.values()].map(({ elements }) => elements));
    this.options = { ...ADAMW_DEFAULTS, ...adamwOptions };
    const byMuon = (name: string) => muonOptions?.names.has(name) ?? false;
    const momentsOf = (name: string) => (byMuon(name) ? ["momentum"] : ["m", "v"]);
    this.names = [...parameters.keys()];
    this.muon = muonOptions && this.names.some(byMuon) ? { ...MUON_DEFAULTS, ...muonOptions } : undefined;
    this.groups = [{}, ...groups];
    const groupOf = (name: string) => groups.findIndex(({ names }) => names.has(name)) + 1;
    const shared = [...parameters].map(([name, { elements }]) => {
      return { name, elements, whole: byMuon(name), state: momentsOf(name).length };
    });
    this.parts = partition(shared, ranks?.size ?? 1);
    const pieces = new Map(this.parts[ranks?.rank ?? 0]!.map((piece) => [piece.name, piece]));
    // This rank's pieces of parameters and gradients.
    const own = new Map<string, { parameter: Tensor; gradient: Tensor; piece: Piece }>();
    for (const [name, parameter] of parameters) {
      const piece = pieces.get(name);
      const isDivided = this.divided.has(name);
      const cut = piece && (isDivided ? this.part(name, parameter, piece) : cutPiece(parameter, piece, this.views));
      if (this.dividesGradients && !cut) continue;
      const gradient = Tensor.zeros(device, "f32", this.dividesGradients ? cut!.shape : parameter.shape);
      this.gradients.set(`gradient.${name}`, gradient);
      if (piece)
        own.set(name, {
          parameter: cut!,
          gradient: this.dividesGradients ? gradient : cutPiece(gradient, piece, this.views),
          piece,
        });
    }
    for (const [name, { shape }] of parameters)
      for (const m of momentsOf(name)) {
        const { parameter, piece } = own.get(name) ?? {};
        const tensor = parameter && Tensor.zeros(device, "f32", parameter.shape);
        if (tensor) this.moments.set(`${m}.${name}`, tensor);
        this.state.set(`${m}.${name}`, { shape, own: tensor && { tensor, start: piece!.start } });
      }
    const value = (name: string, like: Tensor) => tensor(name, "f32", like.shape);
    const update = compile(() => {
      const rates = this.groups.map((_, i) => ({
        // Learning rate, β₁, β₂, ε, weight decay, 1 − β₁ᵗ and 1 − β₂ᵗ, see ratesOf.
        hyper: input(`hyper.${i}`, "f32", [7]),
        ...(this.muon && { keep: input(`muon.keep.${i}`, "f32", [1]), rate: input(`muon.rate.${i}`, "f32", [1]) }),
      }));
      if (this.muon) input("muon.momentum", "f32", [1]); // step() passes it, even if this rank updates no matrix
      const factor = clipFactor(input("gradNorm", "f32", [1]), input("maxGradNorm", "f32", [1]));
      for (const [n, { parameter: p }] of own) {
        const shared = { parameter: value(n, p), gradient: value(`gradient.${n}`, p), factor };
        const group = groupOf(n);
        const { hyper, keep, rate } = rates[group]!;
        if (byMuon(n)) {
          const transposed = muonOptions?.transposed?.has(n) ?? false;
          const operands = { ...shared, momentum: value(`momentum.${n}`, p), keep: keep!, rate: rate! };
          muon(operands, { momentum: this.muon!.momentum, transposed });
        } else {
          const moments = { m: value(`m.${n}`, p), v: value(`v.${n}`, p) };
          const decay = this.groups[group]!.weightDecay !== undefined || decays(n, parameters.get(n)!.shape);
          adamw({ ...shared, ...moments, hyper }, { decay });
        }
      }
      return {};
    });
    const ownParameters = [...own].map(([n, { parameter }]) => [n, parameter] as const);
    const ownGradients = [...own].map(([n, { gradient }]) => [`gradient.${n}`, gradient] as const);
    this.update = update.bind(device, new Map([...ownParameters, ...ownGradients, ...this.moments]));
    // The norm has its own program, so that a non-finite gradient is rejected before any update.
    if (ranks) {
      const elements = new Map([...parameters].map(([name, p]) => [name, p.elements]));
      const gradients = new Map([...own].map(([name, { gradient }]) => [name, gradient]));
      this.norm = new SharedNorm(device, gradients, { ...ranks, elements, parts: this.parts });
    } else {
      const norm = compile(() => ({
        gradNorm: globalNorm([...parameters].map(([n, p]) => value(`gradient.${n}`, p))),
      }));
      this.norm = norm.bind(device, this.gradients);
    }
  }

  /** Makes the tensor of this rank's part of a divided parameter. */
  private part(name: string, { device, elements, shape }: Tensor, { count }: Piece): Tensor {
    const part = Tensor.zeros(device, "f32", count === elements ? shape : [count]);
    this.weights.set(`part.${name}`, part);
    return part;
  }

  /** Marks the divided parameters in the active trace, so that its program collects them from all ranks. */
  divideTensors(): void {
    for (const [name, { shape }] of this.state) {
      const parameter = name.slice(name.indexOf(".") + 1);
      if (!this.divided.has(parameter)) continue;
      const key = `part.${parameter}`;
      const own = this.weights.get(key);
      const ranges = rangesOf(parameter, this.parts);
      divideTensor(tensor(parameter, "f32", shape), { own: own && tensor(key, "f32", own.shape), ...ranges });
    }
  }

  /**
   * Adds nodes to the active trace that store a gradient in its tensor: by overwriting it, or by addition if `keep` is given. With
   * `dividesGradients`, they also sum the gradient over all ranks.
   * @param keep (1) f32, the constant 1
   */
  collect(name: string, gradient: Value, keep?: Value): void {
    if (this.dividesGradients) {
      const whole = gradient.dtype === "f32" ? gradient : cast(gradient, "f32");
      reduceScatter(whole, this.gradient(name), { ...rangesOf(name, this.parts), add: keep !== undefined });
    } else if (keep) accumulate(this.gradient(name)!, gradient, keep);
    else assign(this.gradient(name)!, gradient);
  }

  /**
   * Adds a node to the active trace that sums a stored gradient over all ranks. If the ranks share the state, each gets only the sums of its
   * own part.
   */
  sum(name: string): void {
    allReduce(this.gradient(name)!, this.parts.length > 1 ? rangesOf(name, this.parts) : {});
  }

  /** Returns a gradient's tensor as a value of the active trace. Undefined if this rank has no part of it. */
  private gradient(name: string): Value | undefined {
    const key = `gradient.${name}`;
    const { shape } = this.gradients.get(key) ?? {};
    return shape && tensor(key, "f32", shape);
  }

  /**
   * Approximate size in bytes of the copies that are exchanged with other ranks on the CPU: of gradients with `dividesGradients`, and of
   * parameters. The program copies a gradient while the earlier copies are exchanged, and uses a parameter while the next one is exchanged.
   */
  get exchangeBytes(): number {
    if (!this.dividesGradients || this.isOnAccelerator) return 0;
    return 2 * Math.max(EXCHANGE_BYTES, 4 * this.largest) + (this.divided.size > 0 ? 2 * 4 * this.largest : 0);
  }

  /**
   * Updates the parameters from the gradients. If the gradients are not all finite, nothing changes. Clipping by a norm
   * of NaN would make every weight NaN.
   * @param learningRate learning rate of AdamW. Muon's is `rateRatio` times as high
   * @returns the gradients' L2 norm before clipping
   */
  async step(learningRate: number): Promise<number> {
    const gradNorm = await this.gradNorm();
    if (!Number.isFinite(gradNorm)) return gradNorm;
    const t = this.steps + 1;
    const inputs: Record<string, Float32Array> = {
      gradNorm: Float32Array.of(gradNorm),
      maxGradNorm: Float32Array.of(this.options.maxGradNorm),
      ...(this.muon && { "muon.momentum": Float32Array.of(this.muon.momentum) }),
    };
    for (const i of this.groups.keys()) Object.assign(inputs, this.ratesOf(i, learningRate, t));
    await this.update.run(inputs);
    this.steps = t;
    return gradNorm;
  }

  private async gradNorm(): Promise<number> {
    if (this.norm instanceof SharedNorm) return this.norm.value();
    const { gradNorm } = await this.norm.run({});
    return gradNorm[0]!;
  }

  /** Returns the inputs of the update program for a group in step t. */
  private ratesOf(group: number, learningRate: number, t: number): Record<string, Float32Array> {
    const { rateRatio = 1, weightDecay: decay } = this.groups[group]!;
    const { beta1, beta2, eps, weightDecay } = this.options;
    const rate = learningRate * rateRatio;
    const hyper = [rate, beta1, beta2, eps, decay ?? weightDecay, 1 - beta1 ** t, 1 - beta2 ** t];
    const out: Record<string, Float32Array> = { [`hyper.${group}`]: Float32Array.from(hyper) };
    if (!this.muon) return out;
    const muonRate = rate * this.muon.rateRatio;
    out[`muon.keep.${group}`] = Float32Array.of(1 - muonRate * (decay ?? this.muon.weightDecay));
    out[`muon.rate.${group}`] = Float32Array.of(-muonRate);
    return out;
  }

  /** Frees everything except `weights`. No update may follow. */
  disposeState(): void {
    this.norm.dispose();
    this.update.dispose();
    for (const t of [...this.views, ...this.gradients.values(), ...this.moments.values()]) t.dispose();
  }

  dispose(): void {
    this.disposeState();
    for (const t of this.weights.values()) t.dispose();
  }
}
