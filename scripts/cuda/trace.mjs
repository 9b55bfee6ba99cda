// Counts how often a warp executes each instruction of a kernel, from the paths of its loops and the work that a shape needs.

import { blocksOf, loopsOf, pathOf } from "./loops.mjs";
import { unitOf } from "./opcodes.mjs";

/**
 * Returns whether an instruction matches a mark: a mnemonic, with the bits per lane where they matter ("LDG.128", "HGMMA").
 */
export function matches(mark, { name, width }) {
  const [wanted, bits] = mark.split(/\.(?=\d)/);
  return name === wanted && (bits === undefined || width === Number(bits));
}

/**
 * A part of a warp's execution without inner loops: `code` runs `times` times.
 * @typedef {{ code: object[], times: number, isLoop: boolean }} Segment
 */

/**
 * Returns the segments of a warp.
 * @param {object[]} code
 * @param {object} work
 * @param {Record<string, number>} [work.path] marks that the path should contain in one iteration, and how many. Default: as many as
 *   possible of those in `totals`. 0 also means that predicates skip such instructions
 * @param {Record<string, number>} work.totals marks, and how often a warp executes each. The loop with most of a mark gets the iterations that
 *   this takes. Other loops with the mark are remainders of unrolling, and get none.
 * @param {number} [work.outer] iterations of a loop around those, for example the tiles of a persistent block
 * @returns {Segment[]}
 */
export function segmentsOf(code, { path = {}, totals = {}, outer = 1 }) {
  const blocks = blocksOf(code);
  const loops = loopsOf(blocks);
  const names = [...new Set([...Object.keys(totals), ...Object.keys(path)])];
  const marks = names.map((mark) => ({
    is: (i) => matches(mark, i),
    wanted: path[mark] ?? Number.POSITIVE_INFINITY,
    isWork: mark in totals || Object.keys(totals).length === 0,
  }));
  // Instructions that a predicate skips. They only take an issue slot.
  const unwanted = Object.keys(path).filter((mark) => path[mark] === 0);
  const found = new Map();
  const segment = (loop) => {
    const route = pathOf(code, blocks, loops, loop, marks);
    const own = route
      .filter((n) => n >= 0)
      .flatMap((n) => code.slice(blocks[n].first, blocks[n].last + 1))
      .map((i) => (i.conditional && unwanted.some((mark) => matches(mark, i)) ? { ...i, isOff: true } : i));
    found.set(loop, { code: own, inner: route.filter((n) => n < 0).map((n) => -1 - n) });
    for (const inner of found.get(loop).inner) segment(inner);
  };
  segment(-1);
  const count = (loop, mark) => found.get(loop).code.filter((i) => matches(mark, i)).length;
  const depth = (loop) => (loop < 0 ? 0 : 1 + depth(loops[loop].parent));
  const contains = (loop, other) => found.get(loop).inner.some((n) => n === other || contains(n, other));
  // The loop of each mark.
  const winners = new Map();
  for (const mark of Object.keys(totals)) {
    // If several have equally many, prefers one inside a loop that has an earlier mark, then the innermost. Others may fill a ring before it.
    const isNested = (n) => Number([...winners.values()].some((winner) => contains(winner, n)));
    const counted = [...found.keys()]
      .filter((n) => n >= 0)
      .sort((a, b) => count(b, mark) - count(a, mark) || isNested(b) - isNested(a) || depth(b) - depth(a));
    if (counted.length > 0 && count(counted[0], mark) > 0) winners.set(mark, counted[0]);
  }
  const isWinner = new Set(winners.values());
  const segments = [];
  const walk = (loop, times) => {
    segments.push({ code: found.get(loop).code, times, isLoop: loop >= 0 });
    for (const inner of found.get(loop).inner) walk(inner, iterations(inner, loop, times));
  };
  const iterations = (loop, parent, times) => {
    for (const [mark, winner] of winners)
      if (winner === loop) {
        // Peeled iterations are in the code around the loop.
        const around = count(parent, mark) * times;
        return Math.max(0, totals[mark] - around) / count(loop, mark);
      }
    if ([...isWinner].some((winner) => contains(loop, winner))) return times * (parent < 0 ? outer : 1);
    return Object.keys(totals).some((mark) => count(loop, mark) > 0) ? 0 : times;
  };
  walk(-1, 1);
  return segments.filter(({ code: own, times }) => own.length > 0 && times > 0);
}

/** Counts the instructions of segments by kind. */
export function countKinds(segments) {
  const counts = {};
  for (const { code, times } of segments)
    for (const i of code) {
      const unit = i.isOff ? "control" : (unitOf(i.name) ?? "unknown");
      counts[unit] = (counts[unit] ?? 0) + times;
    }
  return counts;
}

/**
 * Returns the clocks that a warp takes for a segment if no other warp delays it: the stalls that ptxas wrote into the code, and waits for the
 * scoreboards of loads and other instructions of variable latency. For a loop, it is the time of an iteration in the steady state.
 * @param {Segment} segment
 * @param {(instruction) => number} latency
 * @param {number} [product] clocks that the tensor cores need for one wgmma of the warp's group
 */
export function clocksOf({ code, isLoop }, latency, product = 0) {
  // The times at which groups of products are complete. The last one is open if `isOpen`.
  const groups = [];
  let isOpen = false;
  const ready = [0, 0, 0, 0, 0, 0];
  let now = 0;
  let before = 0;
  for (let round = 0; round < (isLoop ? 4 : 1); ++round) {
    before = now;
    for (const i of code) {
      if (i.isOff) {
        now += i.stall;
        continue;
      }
      for (let s = 0; s < 6; ++s) if ((i.waits >> s) & 1) now = Math.max(now, ready[s]);
      if (i.name === "HGMMA") {
        const done = Math.max(now, groups.at(-1) ?? 0) + product;
        if (isOpen) groups[groups.length - 1] = done;
        else groups.push(done);
        isOpen = true;
      }
      if (i.name === "WARPGROUP") isOpen = false;
      if (i.open >= 0) now = Math.max(now, groups.at(-1 - i.open) ?? 0);
      if (i.sets >= 0) ready[i.sets] = Math.max(ready[i.sets], now + latency(i));
      if (i.reads >= 0) ready[i.reads] = Math.max(ready[i.reads], now + READ_CLOCKS);
      now += i.stall;
    }
  }
  return isLoop ? now - before : Math.max(now, ...ready);
}

/** Clocks after which an instruction of variable latency has read its registers. */
const READ_CLOCKS = 12;
