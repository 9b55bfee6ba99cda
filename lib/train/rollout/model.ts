import { LanguageModel } from "../../generate/language-model.ts";
import { assign, compile, type Executable, type FloatDType, isFloat, Tensor, tensor } from "../../graph/index.ts";
import { Model } from "../../models/model.ts";

/**
 * The policy as its answers are drawn from. Where training computes in bf16 over f32 masters, that is a twin with the matrices rounded
 * as a training step rounds them: the sampler then reads half of the bytes a token, and draws from the very weights of which
 * the loss takes log-probabilities. Elsewhere (f32, LoRA over frozen weights) it is the policy itself.
 */
export class RolloutModel {
  private readonly policy: LanguageModel;
  private readonly dtype: FloatDType;
  private twin: { model: LanguageModel; refresh: Executable } | undefined;

  /** @param dtype of the training step's matrices */
  constructor(policy: LanguageModel, dtype: FloatDType) {
    this.policy = policy;
    this.dtype = dtype;
  }

  /** The model with the weights as they are now. It is this object's: do not dispose of it. */
  async refreshed(): Promise<LanguageModel> {
    const { model } = this.policy;
    const rounds = model.languageWeightNames.some((name) => this.rounded(model.weight(name)));
    if (!rounds || model.activeAdapters.length > 0) return this.policy;
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
    const twin = await Model.fromWeights(config, model.device, copies);
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
