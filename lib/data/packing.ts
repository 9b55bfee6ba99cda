/**
 * Packs items into bins of the same capacity, longest first. Each item goes into the fullest bin with enough room (best-fit decreasing;
 * Ding et al. 2024, "Fewer Truncations Improve Language Modeling"). Items of equal length keep their order. If the items are shuffled,
 * chance therefore decides which of them share a bin.
 *
 * @param lengths length of each item, 1 to `capacity`
 * @returns item indices of each bin, with bins in the order in which they were opened
 */
export function packBestFit(lengths: ArrayLike<number>, capacity: number): number[][] {
  const byLength = sortedByLength(lengths, capacity);
  const bins: number[][] = [];
  // withRoom[r] lists the bins with free room r. The tree finds the smallest sufficient r that has a bin.
  const withRoom: number[][] = Array.from({ length: capacity + 1 }, () => []);
  const rooms = new NextTree(capacity + 1);
  for (const item of byLength) {
    const length = lengths[item]!;
    const room = rooms.next(length);
    let bin: number;
    if (room < 0) {
      bin = bins.push([item]) - 1;
      put(bin, capacity - length);
    } else {
      bin = withRoom[room]!.pop()!;
      if (withRoom[room]!.length === 0) rooms.set(room, false);
      bins[bin]!.push(item);
      put(bin, room - length);
    }
  }
  return bins;

  function put(bin: number, room: number): void {
    if (room === 0) return;
    withRoom[room]!.push(bin);
    rooms.set(room, true);
  }
}

/** Returns indices, longest first. Equal lengths keep their order (a counting sort). */
function sortedByLength(lengths: ArrayLike<number>, capacity: number): Uint32Array {
  const starts = new Uint32Array(capacity + 2);
  for (let i = 0; i < lengths.length; i++) starts[capacity - lengths[i]! + 1]!++;
  for (let room = 1; room < starts.length; room++) starts[room]! += starts[room - 1]!;
  const out = new Uint32Array(lengths.length);
  for (let i = 0; i < lengths.length; i++) out[starts[capacity - lengths[i]!]!++] = i;
  return out;
}

/** A set of small integers. In logarithmic time, it finds the smallest element that is at least a given number. */
class NextTree {
  private readonly leaves: number;
  private readonly filled: Uint8Array;

  constructor(size: number) {
    let leaves = 1;
    while (leaves < size) leaves *= 2;
    this.leaves = leaves;
    this.filled = new Uint8Array(2 * leaves);
  }

  set(value: number, present: boolean): void {
    let node = this.leaves + value;
    this.filled[node] = present ? 1 : 0;
    for (node >>= 1; node >= 1; node >>= 1) this.filled[node] = this.filled[2 * node]! | this.filled[2 * node + 1]!;
  }

  /** Returns the smallest number in the set that is at least `from`, or −1. */
  next(from: number): number {
    if (from >= this.leaves) return -1;
    let node = this.leaves + from;
    if (this.filled[node]) return from;
    // Go up to the first non-empty right sibling, then down to its smallest number.
    while (node > 1) {
      if (node % 2 === 0 && this.filled[node + 1]) {
        node += 1;
        break;
      }
      node >>= 1;
    }
    if (node <= 1) return -1;
    while (node < this.leaves) node = this.filled[2 * node] ? 2 * node : 2 * node + 1;
    return node - this.leaves;
  }
}
