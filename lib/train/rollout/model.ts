import { assign, compile, type Executable, type FloatDType, isFloat, Tensor, tensor } from "../../graph/index.ts";
import { LanguageModel } from "../../language-model/language-model.ts";
import { Model } from "../../models/model.ts";

export interface RolloutOptions {
  /** Of the matrices that answers are drawn from; bf16 needs a policy with f32 masters (`Model.prepareForTraining`). */
  dtype: FloatDType;
  /** What a twin divides logits by, so that a draw from it at temperature 1 also tells how likely it was. Default 1. */
  temperature?: number | undefined;
}

/**
 * The policy as its answers are drawn from: with dtype bf16 a twin of its f32 masters with matrices rounded to bf16, of which the sampler
 * reads half of the bytes a token and multiplies them at twice the rate. The twin is not the policy to the last bit: the loss
 * has to weight what it drew (see `grpoLoss`). With dtype f32 it is the policy itself.
 */
export class RolloutModel {
  private readonly policy: LanguageModel;
  private readonly dtype: FloatDType;
  private readonly temperature: number;
  private twin: { model: LanguageModel; refresh: Executable } | undefined;

  constructor(policy: LanguageModel, { dtype, temperature = 1 }: RolloutOptions) {
    this.policy = policy;
    this.dtype = dtype;
    this.temperature = temperature;
  }

  /** Whether answers come from a twin. */
  get isTwin(): boolean {
    return this.dtype !== "f32";
  }

  /** The model with the weights as they are now. It is this object's: do not dispose of it. */
  async refreshed(): Promise<LanguageModel> {
    if (!this.isTwin) return this.policy;
    this.twin ??= await this.open();
    await this.twin.refresh.run({});
    return this.twin.model;
  }

  private rounded({ dtype, shape, writable }: Tensor): boolean {
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
        Tensor.zeros(model.device, this.rounded(from) ? this.dtype : (from.dtype as FloatDType), from.shape),
      );
    }
    // Before the model is made, so that a failure of either leaves nothing behind.
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
    const twin = await Model.fromWeights(config, model.device, copies, {
      quantizedActivations,
      temperature: this.temperature,
    });
    return {
      model: new LanguageModel({ model: twin, tokenizer, generation, contextLength }),
      refresh: program.bind(model.device, bound),
    };
  }

  dispose(): void {
    this.twin?.refresh.dispose();
    this.twin?.model.dispose();
  }
}
