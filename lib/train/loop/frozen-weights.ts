import { assign, compile, type FloatDType, isFloat, Tensor, tensor, type Value } from "../../graph/index.ts";
import type { Model } from "../../models/model.ts";

/**
 * The matrices that a run does not train, in the type that its steps read. With bf16 steps, f32 matrices are rounded
 * once instead of in every micro-batch, and the steps' arenas need no rounded copies.
 */
export class FrozenMatrices {
  readonly dtype: FloatDType;
  private readonly model: Model;
  private readonly trained: ReadonlySet<string>;
  private readonly copies = new Map<string, Tensor>();
  private filled = false;

  /** @param trained names of the trained weights @param dtype type of the matrices in the steps */
  constructor(model: Model, trained: readonly string[], dtype: FloatDType) {
    this.model = model;
    this.trained = new Set(trained);
    this.dtype = dtype;
  }

  /**
   * Returns the weights of one trace by name. The first `get` of a frozen matrix adds its rounded copy to the trace and
   * to `tensors`. So only the matrices that a trace reads have copies.
   */
  weights(): Map<string, Value> {
    const enter = (name: string) => this.enter(name);
    return new (class extends Map<string, Value> {
      override get(name: string): Value | undefined {
        const known = super.get(name) ?? enter(name);
        if (known) this.set(name, known);
        return known;
      }
    })();
  }

  private enter(name: string): Value | undefined {
    const { model, dtype } = this;
    const stored = model.weight(name);
    if (this.trained.has(name) || stored.shape.length < 2 || !isFloat(stored.dtype) || stored.dtype === dtype)
      return undefined;
    const key = `rounded.${name}`;
    // After `fill`, no copies are added. A trace then rounds the matrix itself.
    if (this.filled && !this.copies.has(key)) return undefined;
    const copy = this.copies.get(key) ?? Tensor.zeros(model.device, dtype, stored.shape);
    this.copies.set(key, copy);
    return tensor(key, dtype, stored.shape);
  }

  /** The rounded copies by name. Programs whose traces use `weights` must be bound to them, in addition to the model's tensors. */
  get tensors(): ReadonlyMap<string, Tensor> {
    return this.copies;
  }

  /** Fills the rounded copies, before the first step. */
  async fill(): Promise<void> {
    const { model, copies } = this;
    this.filled = true;
    if (copies.size === 0) return;
    const names = [...copies.keys()].map((key) => key.slice("rounded.".length));
    const program = compile(() => {
      for (const name of names) {
        const { dtype, shape } = model.weight(name);
        assign(tensor(`rounded.${name}`, this.dtype, shape), tensor(name, dtype, shape));
      }
      return {};
    });
    const bound = program.bind(model.device, new Map([...model.tensors, ...copies]));
    try {
      await bound.run({});
    } finally {
      bound.dispose();
    }
  }

  dispose(): void {
    for (const copy of this.copies.values()) copy.dispose();
  }
}
