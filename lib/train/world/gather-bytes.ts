// Gathers the bytes of all ranks, whose lengths may differ, by collective operations on tensors or numbers.
import { type Device, Tensor } from "../../graph/index.ts";
import type { World } from "./world.ts";

/** `World.sum` is exact for whole numbers below 2^24. So each number carries three bytes. */
const BYTES_PER_NUMBER = 3;
/** Maximum count of numbers that one sum exchanges, for all ranks together. */
const CHUNK_NUMBERS = 1 << 18;
/** Maximum bytes of device memory that one all-gather uses, for all ranks together. */
const CHUNK_BYTES = 16 << 20;

type Rank = Pick<World, "rank" | "size" | "sum">;

/**
 * Returns the bytes of all ranks, in rank order. They are exchanged by sums of numbers in which each rank fills its own part and leaves the
 * others zero.
 * @param chunk maximum count of numbers per sum
 */
export async function gatherBySums(world: Rank, bytes: Uint8Array, chunk = CHUNK_NUMBERS): Promise<Uint8Array[]> {
  const lengths = await lengthsOf(world, bytes.length);
  const found = lengths.map((length) => new Uint8Array(length));
  const ends = endsOf(lengths.map((length) => Math.ceil(length / BYTES_PER_NUMBER)));
  const total = ends.at(-1)!;
  for (let begin = 0; begin < total; begin += chunk) {
    const end = Math.min(total, begin + chunk);
    const slots: number[] = new Array(end - begin).fill(0);
    /** Calls `visit` with each number of this chunk that a rank has, and the position of the number's bytes. */
    const eachOf = (rank: number, visit: (slot: number, at: number) => void) => {
      const first = ends[rank - 1] ?? 0;
      for (let i = Math.max(first, begin); i < Math.min(ends[rank]!, end); i++)
        visit(i - begin, (i - first) * BYTES_PER_NUMBER);
    };
    eachOf(world.rank, (slot, at) => {
      slots[slot] = bytes[at]! + 2 ** 8 * (bytes[at + 1] ?? 0) + 2 ** 16 * (bytes[at + 2] ?? 0);
    });
    const sums = await world.sum(slots);
    for (const [rank, own] of found.entries())
      eachOf(rank, (slot, at) => {
        // A typed array ignores writes past its end, where the last number has fewer bytes.
        for (let i = 0; i < BYTES_PER_NUMBER; i++) own[at + i] = sums[slot]! >> (8 * i);
      });
  }
  return found;
}

/**
 * Returns the bytes of all ranks, in rank order. They are exchanged by all-gathers of tensors.
 * @param chunk maximum bytes of the tensors of an all-gather, over all ranks
 */
export async function gatherByTensors(
  world: Rank & Pick<World, "allGather">,
  device: Device,
  bytes: Uint8Array,
  chunk = CHUNK_BYTES,
): Promise<Uint8Array[]> {
  const { rank, size } = world;
  const lengths = await lengthsOf(world, bytes.length);
  const found = lengths.map((length) => new Uint8Array(length));
  const longest = Math.max(...lengths);
  if (longest === 0) return found;
  const most = Math.min(longest, Math.max(1, Math.floor(chunk / size))); // bytes of a rank
  const memory = Tensor.zeros(device, "u8", [most * size]);
  try {
    for (let begin = 0; begin < longest; begin += most) {
      const ends = endsOf(lengths.map((length) => Math.max(0, Math.min(most, length - begin))));
      const starts = ends.map((_, r) => ends[r - 1] ?? 0);
      const count = (r: number) => ends[r]! - starts[r]!;
      if (count(rank) > 0) await memory.writeBytes(bytes.subarray(begin, begin + count(rank)), starts[rank]!);
      const parts = ends.map((_, r) => (count(r) > 0 ? [memory.part(starts[r]!, count(r))] : []));
      await world.allGather!(parts);
      for (const view of parts.flat()) view.dispose();
      const all = await memory.readBytes(0, ends.at(-1)!);
      for (const [r, own] of found.entries()) if (count(r) > 0) own.set(all.subarray(starts[r]!, ends[r]!), begin);
    }
  } finally {
    memory.dispose();
  }
  return found;
}

/** Returns the length of each rank's bytes. A length is exchanged as two numbers, which `World.sum` represents exactly. */
async function lengthsOf(world: Rank, mine: number): Promise<number[]> {
  const [low, high] = [mine % 2 ** 24, Math.floor(mine / 2 ** 24)];
  const own = Array.from({ length: world.size }, (_, r) => (r === world.rank ? [low, high] : [0, 0]));
  const sums = await world.sum(own.flat());
  return own.map((_, r) => sums[2 * r]! + 2 ** 24 * sums[2 * r + 1]!);
}

/** Returns the running sums of counts. */
function endsOf(counts: readonly number[]): number[] {
  let end = 0;
  return counts.map((count) => {
    end += count;
    return end;
  });
}
