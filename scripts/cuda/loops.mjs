// Finds the basic blocks and loops of decoded SASS, and the path that an iteration takes.

/**
 * @typedef {object} Block
 * @property {number} first, last: indices of its first and last instruction
 * @property {number[]} next indices of the blocks that may follow
 *
 * @typedef {object} Loop
 * @property {number} head index of its first block
 * @property {Set<number>} blocks
 * @property {number[]} latches blocks with an edge to the head
 * @property {number} parent index of the enclosing loop, or -1
 */

/** Whether an instruction may continue elsewhere. ptxas also writes a conditional jump as a call that never returns. */
const jumps = (i) => /^(BRA|BRXU?)$/.test(i.name) || (i.name === "CALL" && i.conditional);

/** Splits code into basic blocks. */
export function blocksOf(code) {
  const starts = new Set([0]);
  for (const [n, i] of code.entries()) {
    for (const target of i.targets) starts.add(target / 16);
    if (jumps(i) || /^(EXIT|RET|BSYNC)$/.test(i.name)) starts.add(n + 1);
  }
  const firsts = [...starts].filter((n) => n < code.length).sort((a, b) => a - b);
  const at = new Map(firsts.map((n, index) => [n, index]));
  return firsts.map((first, index) => {
    const last = (firsts[index + 1] ?? code.length) - 1;
    const end = code[last];
    const next = new Set();
    if (jumps(end) && !end.never) for (const target of end.targets) next.add(at.get(target / 16));
    if (end.name === "BSYNC") next.add(at.get(reconvergence(code, last)));
    const stops = /^(BRA|BRXU?|EXIT|RET)$/.test(end.name) && !end.conditional && !end.never;
    if (!stops && end.name !== "BSYNC" && at.has(last + 1)) next.add(at.get(last + 1));
    next.delete(undefined);
    return { first, last, next: [...next] };
  });
}

/** Returns the index at which the threads of a BSYNC continue: the target of the nearest BSSY before it with the same barrier. */
function reconvergence(code, sync) {
  for (let n = sync - 1; n >= 0; --n)
    if (code[n].name === "BSSY" && code[n].barrier === code[sync].barrier && code[n].targets[0] / 16 > sync)
      return code[n].targets[0] / 16;
  return sync + 1;
}

/** Returns the natural loops, the outer ones first: for each back edge to a block that dominates its source, the blocks that reach it. */
export function loopsOf(blocks) {
  const before = blocks.map(() => []);
  for (const [n, { next }] of blocks.entries()) for (const to of next) before[to].push(n);
  const order = postorder(blocks).reverse();
  const rank = new Map(order.map((n, index) => [n, index]));
  // Immediate dominators (Cooper, Harvey and Kennedy 2001, "A Simple, Fast Dominance Algorithm").
  const dominator = new Map([[0, 0]]);
  const common = (a, b) => {
    while (a !== b) {
      while (rank.get(a) > rank.get(b)) a = dominator.get(a);
      while (rank.get(b) > rank.get(a)) b = dominator.get(b);
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const n of order.slice(1)) {
      const known = before[n].filter((p) => dominator.has(p));
      const own = known.reduce((a, b) => common(a, b));
      if (dominator.get(n) !== own) {
        dominator.set(n, own);
        changed = true;
      }
    }
  }
  const dominates = (a, b) => {
    while (b !== a && b !== 0) b = dominator.get(b);
    return a === b;
  };
  const loops = new Map();
  for (const n of order)
    for (const head of blocks[n].next) {
      if (!dominates(head, n)) continue;
      const loop = loops.get(head) ?? { head, blocks: new Set([head]), latches: [], parent: -1 };
      loops.set(head, loop);
      loop.latches.push(n);
      const open = [n];
      while (open.length > 0) {
        const block = open.pop();
        if (loop.blocks.has(block)) continue;
        loop.blocks.add(block);
        open.push(...before[block].filter((p) => rank.has(p)));
      }
    }
  const list = [...loops.values()].sort((a, b) => b.blocks.size - a.blocks.size);
  for (const [n, loop] of list.entries())
    for (let outer = n - 1; outer >= 0 && loop.parent < 0; --outer)
      if (list[outer].blocks.has(loop.head) && list[outer].head !== loop.head) loop.parent = outer;
  return list;
}

function postorder(blocks) {
  const seen = new Set([0]);
  const done = [];
  const stack = [[0, 0]];
  while (stack.length > 0) {
    const top = stack.at(-1);
    const next = blocks[top[0]].next[top[1]++];
    if (next === undefined) {
      done.push(top[0]);
      stack.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      stack.push([next, 0]);
    }
  }
  return done;
}

const SURPLUS_COST = 1000;

/**
 * Returns the path of one iteration of a loop (or of the whole kernel, `loop` -1). Kernels have paths for masks, edges and other dtypes. This
 * is the path without back edges that has the most marked instructions, up to the number wanted. If several have, it is the one with the fewest
 * instructions. More marked instructions than wanted count as many instructions.
 * @param {{ is: (instruction) => boolean, wanted: number, isWork: boolean }[]} marks `isWork`: the mark counts in inner loops
 * @returns {number[]} the path: indices of blocks, and -1 - n for inner loop n, of which one iteration counts
 */
export function pathOf(code, blocks, loops, loop, marks) {
  const inside = loop < 0 ? undefined : loops[loop].blocks;
  const innerOf = new Map(); // the outermost inner loop that contains a block
  for (const [n, { blocks: own, parent }] of loops.entries())
    if (parent === loop) for (const block of own) innerOf.set(block, n);
  const nodeOf = (block) => (innerOf.has(block) ? -1 - innerOf.get(block) : block);
  const start = nodeOf(loop < 0 ? 0 : loops[loop].head);
  const blocksIn = (node) => (node >= 0 ? [node] : [...loops[-1 - node].blocks]);
  const nodes = new Map();
  const nodeFacts = (node) => {
    if (nodes.has(node)) return nodes.get(node);
    const own = blocksIn(node);
    const next = new Set(
      own
        .flatMap((block) => blocks[block].next)
        .filter((to) => !inside || inside.has(to))
        .map(nodeOf),
    );
    next.delete(node);
    next.delete(start);
    const ends =
      loop >= 0
        ? own.some((block) => loops[loop].latches.includes(block))
        : own.some((block) => code[blocks[block].last].name === "EXIT");
    const marked = marks.map(() => 0);
    for (const block of own)
      for (let n = blocks[block].first; n <= blocks[block].last; ++n)
        for (const [m, { is, wanted }] of marks.entries())
          if (is(code[n]) && !(wanted === 0 && code[n].conditional)) marked[m] += 1;
    const sized = blocks[node >= 0 ? node : loops[-1 - node].head];
    const facts = { next: [...next], ends, marked, count: sized.last - sized.first + 1 };
    nodes.set(node, facts);
    return facts;
  };
  const known = new Map();
  const isBetter = (a, b) => !b || a.score > b.score || (a.score === b.score && a.count < b.count);
  // Returns the best rest of a path from `node` on, if `wanted` marks are still missing.
  const visit = (node, wanted, open) => {
    const key = `${node}:${wanted}`;
    if (known.has(key)) return known.get(key);
    if (open.has(node)) return undefined;
    open.add(node);
    const { next, ends, marked, count } = nodeFacts(node);
    // The path should pass the loops that do the work, so their marks count. They do not reduce what this path needs itself.
    const taken = wanted.map((left, m) =>
      node >= 0 ? Math.min(left, marked[m]) : marks[m].wanted === 0 || !marks[m].isWork ? 0 : marked[m],
    );
    const left = node >= 0 ? wanted.map((w, m) => w - taken[m]) : wanted;
    let rest = ends ? { score: 0, count: 0, path: [] } : undefined;
    for (const to of next) {
      const one = visit(to, left, open);
      if (one && isBetter(one, rest)) rest = one;
    }
    open.delete(node);
    const own = taken.reduce((a, b) => a + b, 0);
    const surplus = wanted.reduce((sum, w, m) => sum + (w === Number.POSITIVE_INFINITY ? 0 : marked[m] - taken[m]), 0);
    const cost = count + (node >= 0 ? surplus * SURPLUS_COST : 0);
    const found = rest && { score: own + rest.score, count: cost + rest.count, path: [node, ...rest.path] };
    known.set(key, found);
    return found;
  };
  return (
    visit(
      start,
      marks.map(({ wanted }) => wanted),
      new Set(),
    )?.path ?? []
  );
}
