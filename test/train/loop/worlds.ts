import type { Tensor } from "../../../lib/graph/index.ts";
import type { World } from "../../../lib/train/world/world.ts";

/** Creates ranks in one process. Each waits until all have contributed, then all get the sum. */
export function worlds(size: number): World[] {
  let given: unknown[] = [];
  let waiting: (() => void)[] = [];
  const meet = async <T>(mine: T): Promise<T[]> => {
    const all = given;
    all.push(mine);
    if (all.length === size) {
      for (const go of waiting) go();
      [given, waiting] = [[], []];
    } else await new Promise<void>((go) => waiting.push(go));
    return all as T[];
  };
  return Array.from({ length: size }, (_, rank) => ({
    rank,
    size,
    async sum(values: readonly number[]) {
      const all = await meet(values);
      return values.map((_, i) => all.reduce((n, v) => n + v[i]!, 0));
    },
    async allReduce(tensors: readonly Tensor[]) {
      const all = await meet(await Promise.all(tensors.map((t) => t.toFloat32())));
      for (const [i, t] of tensors.entries())
        await t.write(Float32Array.from(all[0]![i]!, (_, k) => all.reduce((n, own) => n + own[i]![k]!, 0)));
    },
  }));
}
