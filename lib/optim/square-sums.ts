import { compile, type Device, squareSums, type Tensor, tensor } from "../graph/index.ts";
import type { Piece } from "./partition.ts";

/** Minimum number of elements in a piece, elementwise_grain of native/cpu/rows/elementwise-inl.h. */
const GRAIN = 16_384;
/** Maximum number of pieces of a tensor. */
const MOST = 1024;

/**
 * Returns the number of elements of the pieces into which global_norm divides a tensor on the CPU. For a tensor of more
 * than 16 million elements, the kernel rounds pieces up to its vector width instead of 64. The kernel's sum may then
 * differ from the sum over these pieces in the last bits of a double. The two sums are equal if the number of elements is
 * a multiple of 65,536.
 */
export function squarePiece(elements: number): number {
  return Math.max(GRAIN, Math.ceil(Math.ceil(elements / MOST) / 64) * 64);
}

/** The division of gradients among ranks. */
interface SharedGradients {
  /** Number of elements of each gradient, by parameter. */
  elements: ReadonlyMap<string, number>;
  /** Pieces of every rank, by rank. */
  parts: readonly (readonly Piece[])[];
  rank: number;
  /** Sums numbers over all ranks. */
  sum(values: readonly number[]): Promise<number[]>;
}

/**
 * The L2 norm of gradients of which each rank has only a part. On the CPU it has the same bits as global_norm of the
 * whole gradients, except for the tensors that `squarePiece` describes. Every rank adds the sums of the same pieces, in
 * the same order.
 */
export class SharedNorm {
  private readonly shared: SharedGradients;
  private readonly own: ReturnType<typeof bound>;
  /**
   * For each parameter, the index of its first sum and the number of its sums. A parameter that one rank holds whole
   * has one sum.
   */
  private readonly places = new Map<string, { at: number; sums: number }>();
  private readonly length: number;

  /** @param gradients this rank's pieces, by parameter */
  constructor(device: Device, gradients: ReadonlyMap<string, Tensor>, shared: SharedGradients) {
    this.shared = shared;
    this.own = bound(device, gradients, shared);
    let at = 0;
    for (const [name, elements] of shared.elements) {
      const isCut = shared.parts.filter((pieces) => pieces.some((piece) => piece.name === name)).length > 1;
      const sums = isCut ? Math.ceil(elements / squarePiece(elements)) : 1;
      this.places.set(name, { at, sums });
      at += sums;
    }
    this.length = at;
  }

  /** Returns the norm, on every rank. */
  async value(): Promise<number> {
    const { shared, own, places } = this;
    const found = await own.run({});
    const slots: number[] = new Array(this.length).fill(0);
    for (const { name, start } of shared.parts[shared.rank]!) {
      const { at, sums } = places.get(name)!;
      const terms = found[name] as Float32Array;
      const first = sums > 1 ? start / squarePiece(shared.elements.get(name)!) : 0;
      for (let i = 0; i < terms.length / 3; i++) {
        // squareSums returns each sum, a double, as three f32 terms.
        const sum = terms[3 * i]! + terms[3 * i + 1]! + terms[3 * i + 2]!;
        if (sums > 1) slots[at + first + i] = sum;
        else slots[at]! += sum;
      }
    }
    const all = await shared.sum(slots);
    let total = 0;
    for (const { at, sums } of places.values()) {
      let own = 0;
      for (let i = at; i < at + sums; i++) own += all[i]!;
      total += own;
    }
    return Math.fround(Math.sqrt(total));
  }

  dispose(): void {
    this.own.dispose();
  }
}

function bound(device: Device, gradients: ReadonlyMap<string, Tensor>, { elements }: SharedGradients) {
  const program = compile(() =>
    Object.fromEntries(
      [...gradients].map(([name, { shape }]) => [
        name,
        squareSums(tensor(name, "f32", shape), { piece: squarePiece(elements.get(name)!) }),
      ]),
    ),
  );
  return program.bind(device, gradients);
}
