import type { Tensor } from "../../../lib/graph/index.ts";
import type { World } from "../../../lib/train/world/world.ts";

/** Adds arrays in f32 in the order of the ranks, as an MPI world does, and as one process adds micro-batches. */
function summed(all: readonly Float32Array[]): Float32Array {
  const sum = all[0]!.slice();
  for (const own of all.slice(1)) for (const [i, value] of own.entries()) sum[i] = sum[i]! + value;
  return sum;
}

/** Creates the worlds of ranks in one process. In each call, a rank waits until all ranks have given their data. */
export function worlds(size: number): World[] {
  let given: unknown[] = [];
  let waiting: (() => void)[] = [];
  const meetAs = async <T>(rank: number, mine: T): Promise<T[]> => {
    const all = given; // the array of this call, because the last rank replaces `given` for the next one
    all[rank] = mine;
    if (waiting.length === size - 1) {
      for (const go of waiting) go();
      [given, waiting] = [[], []];
    } else await new Promise<void>((go) => waiting.push(go));
    return all as T[];
  };
  const world = (rank: number, meet: <T>(mine: T) => Promise<T[]>): World => ({
    rank,
    size,
    async sum(values: readonly number[]) {
      const all = await meet(values);
      return values.map((_, i) => all.reduce((n, v) => n + v[i]!, 0));
    },
    async barrier() {
      await meet(undefined);
    },
    async allReduce(tensors: readonly Tensor[]) {
      const all = await meet(await Promise.all(tensors.map((t) => t.toFloat32())));
      for (const [i, t] of tensors.entries()) await t.write(summed(all.map((own) => own[i]!)));
    },
    async reduceScatter(parts: readonly (readonly Tensor[])[]) {
      const all = await meet(await Promise.all(parts.flat().map((t) => t.toFloat32())));
      const before = parts.slice(0, rank).flat().length;
      for (const [i, t] of parts[rank]!.entries()) await t.write(summed(all.map((own) => own[before + i]!)));
    },
    async allGather(parts: readonly (readonly Tensor[])[]) {
      const all = await meet(await Promise.all(parts[rank]!.map((t) => t.read())));
      for (const [from, tensors] of parts.entries())
        for (const [i, t] of tensors.entries()) if (from !== rank) await t.write(all[from]![i]!);
    },
  });
  return Array.from({ length: size }, (_, rank) => world(rank, (mine) => meetAs(rank, mine)));
}
