import { assign, compile, type Executable, type FloatDType, isFloat, Tensor, tensor } from "../../graph/index.ts";
import { LanguageModel } from "../../language-model/language-model.ts";
import { Model } from "../../models/model.ts";

interface RolloutOptions {
  /**
   * Element type of the matrices for drawing answers; bf16 needs a policy with f32 master weights
   * (`Model.prepareForTraining`).
   */
  dtype: FloatDType;
  /**
   * Divisor of the bf16 sampler's logits. Sample from it at temperature 1. Generation reports log-probabilities at
   * temperature 1, so they are then those of the distribution that the sampler draws from. Default 1.
   */
  temperature?: number | undefined;
}

/**
 * The model that draws the policy's answers. With dtype f32, it is the policy itself. With dtype bf16, it is the
 * sampler: a copy whose matrices are the f32 master weights rounded to bf16. Its matrices take half the memory traffic
 * per token, and multiply at up to twice the rate. Rounding changes the probabilities, so the loss has to weight the
 * sampler's answers (see `grpoLoss`).
 */
export class RolloutModel {
  private readonly policy: LanguageModel;
  private readonly dtype: FloatDType;
  private readonly temperature: number;
  private copy: { model: LanguageModel; refresh: Executable } | undefined;

  constructor(policy: LanguageModel, { dtype, temperature = 1 }: RolloutOptions) {
    this.policy = policy;
    this.dtype = dtype;
    this.temperature = temperature;
  }

  /** Whether answers come from a rounded copy of the policy. */
  get isCopy(): boolean {
    return this.dtype !== "f32";
  }

  /** Returns the model with the current weights. This object owns it: do not dispose of it. */
  async refreshed(): Promise<LanguageModel> {
    if (!this.isCopy) return this.policy;
    this.copy ??= await this.open();
    await this.copy.refresh.run({});
    return this.copy.model;
  }

  private isRounded({ dtype, shape, writable }: Tensor): boolean {
    return writable && shape.length >= 2 && isFloat(dtype) && dtype !== this.dtype;
  }

  private async open() {
    const { model, tokenizer, generation, contextLength } = this.policy;
    const names = model.languageWeightNames;
    const copies = new Map<string, Tensor>();
    for (const name of names) {
      const from = model.weight(name);
      copies.set(
        name,
        Tensor.zeros(model.device, this.isRounded(from) ? this.dtype : (from.dtype as FloatDType), from.shape),
      );
    }
    // Compile before the model is created, so that a failure to compile leaves no undisposed model.
    const program = compile(() => {
      for (const [name, { dtype, shape }] of copies)
        assign(tensor(`copy.${name}`, dtype, shape), tensor(name, model.weight(name).dtype, shape));
      return {};
    });
    const bound = new Map(
      names.flatMap((name) => [[name, model.weight(name)] as const, [`copy.${name}`, copies.get(name)!] as const]),
    );
    const { valueHead: _, ...config } = model.config;
    const { quantizedActivations } = model;
    const copy = await Model.fromWeights(config, model.device, copies, {
      quantizedActivations,
      temperature: this.temperature,
    });
    return {
      model: new LanguageModel({ model: copy, tokenizer, generation, contextLength }),
      refresh: program.bind(model.device, bound),
    };
  }

  dispose(): void {
    this.copy?.refresh.dispose();
    this.copy?.model.dispose();
  }
}
