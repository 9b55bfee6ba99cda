// Predicts the time of a launch from the instructions of its warps, the bytes it moves, and a card's rates.
import { launchSeconds } from "./cards.mjs";
import { unitOf } from "./opcodes.mjs";
import { clocksOf, countKinds } from "./trace.mjs";

const WARP = 32;
/** Operations of one warp-wide mma.sync m16n8k16, in bf16 or 8-bit integers. */
const MMA_OPERATIONS = 4096;

/** Returns the blocks that fit into a multiprocessor, and the limit that decides. */
export function occupancyOf(card, { registers, threads, shared }) {
  const warps = Math.ceil(threads / WARP);
  const limits = {
    // A warp gets registers in units of 256.
    registers: Math.floor(card.registers / (warps * Math.ceil((registers * WARP) / 256) * 256)),
    // The system reserves 1 KB of each block.
    "shared memory": Math.floor(card.sharedBytes / (shared + 1024)),
    threads: Math.floor(card.warps / warps),
    blocks: card.blocks,
  };
  const [limit, blocks] = Object.entries(limits).reduce((a, b) => (b[1] < a[1] ? b : a));
  return { blocks, limit, warps: blocks * warps, share: (blocks * warps) / card.warps };
}

/** Returns the clocks of a multiprocessor's units that one warp-wide instruction takes, besides its issue slot. */
export function costOf(card, { name, width, isOff }) {
  if (isOff) return {};
  switch (unitOf(name)) {
    case "fma":
      // Integer multiply-adds have half the lanes of those in floating point where the latter have 128.
      return { arithmetic: WARP / (/^(IMAD|IDP)/.test(name) ? 64 : card.lanes) };
    case "alu":
      return { integer: WARP / 64 };
    case "double":
      return { double: WARP / (card.lanes === 128 && card.tensor < 1024 ? 2 : 64) };
    case "special":
      return { special: WARP / 16 };
    case "shared":
      return { shared: name === "LDSM" ? width : Math.max(1, (width * WARP) / 8 / 128) };
    case "global":
      return /^(UTMA|UBLK)/.test(name) ? {} : { shared: Math.max(1, (width * WARP) / 8 / 128) };
    case "tensor":
      if (name === "HMMA") return { tensor: MMA_OPERATIONS / (card.mma ?? card.tensor) };
      return name === "IMMA" ? { tensor: MMA_OPERATIONS / ((card.integer ?? 2) * (card.mma ?? card.tensor)) } : {};
    default:
      return {};
  }
}

/** How often a segment executes the instruction `mark`. */
const marked = ({ code, times }, mark) => code.filter(({ name }) => name === mark).length * times;

/**
 * Predicts a launch.
 * @param {object} card
 * @param {object} of
 * @param {number} of.blocks blocks of the grid
 * @param {{ registers: number, threads: number, shared: number }} of.block
 * @param {{ warps: number, segments: object[], tensor?: number, shared?: number, l2?: number, mark?: string, isInStep?: boolean }[]} of.roles warps of a block that
 *   run the same code. `tensor` operations, `shared` bytes and `l2` bytes of the block belong to the segment with `mark`. They are those of
 *   asynchronous products and copies, which the code of a warp does not show.
 * @param {number} of.dram bytes of the launch
 * @param {number} [of.l2] bytes between L2 and multiprocessors. Default: `dram`
 * @param {boolean} [of.waits] see `launchSeconds`
 */
export function predict(card, { blocks, block, roles, dram, l2 = dram, waits }) {
  const occupancy = occupancyOf(card, block);
  if (occupancy.blocks === 0) throw new Error(`a block does not fit into a multiprocessor: ${occupancy.limit}`);
  const latency = ({ name }) => {
    if (/^(LDG|LD|ATOMG|ATOM)$/.test(name)) return card.latency.dram;
    if (name === "MEMBAR") return 2 * card.latency.l2;
    return name.startsWith("LD") ? card.latency.shared : 24;
  };
  // Clocks of a segment of one block, of each unit and of a warp that nothing delays.
  const parts = roles.flatMap((role) =>
    role.segments.map((segment) => {
      const units = { issue: 0 };
      const add = (unit, clocks) => {
        units[unit] = (units[unit] ?? 0) + clocks;
      };
      for (const i of segment.code) {
        add("issue", role.warps / 4);
        for (const [unit, clocks] of Object.entries(costOf(card, i))) add(unit, clocks * role.warps);
      }
      for (const unit of Object.keys(units)) units[unit] *= segment.times;
      // The segment's share of the role's asynchronous work.
      const share = role.mark
        ? marked(segment, role.mark) / role.segments.reduce((n, s) => n + marked(s, role.mark), 0)
        : 0;
      if (share > 0) {
        add("tensor", (share * (role.tensor ?? 0)) / card.tensor);
        add("shared", (share * (role.shared ?? 0)) / 128);
        add("L2", (share * (role.l2 ?? 0)) / Math.min(card.l2PerMultiprocessor, card.l2 / card.multiprocessors));
      }
      // A warpgroup is four warps. Warpgroups in step wait for the products of all.
      const products = role.segments.reduce((n, s) => n + marked(s, "HGMMA"), 0) * (role.isInStep ? 1 : role.warps / 4);
      const product = Math.max((role.tensor ?? 0) / card.tensor, (role.shared ?? 0) / 128) / Math.max(1, products);
      return { role, units, alone: clocksOf(segment, latency, product) * segment.times };
    }),
  );
  const sums = {};
  for (const { units } of parts) for (const [unit, c] of Object.entries(units)) sums[unit] = (sums[unit] ?? 0) + c;
  // Roles run at the same time.
  const longest = (clocks) =>
    Math.max(...roles.map((role) => parts.filter((p) => p.role === role).reduce((sum, p) => sum + clocks(p), 0)));
  const serial = longest(({ units, alone }) => Math.max(alone, ...Object.values(units)));
  const warpAlone = longest(({ alone }) => alone);
  // Clocks of a multiprocessor for `resident` blocks at the same time.
  const together = (resident) => Math.max(serial, ...Object.values(sums).map((c) => c * resident));
  const slots = card.multiprocessors * occupancy.blocks;
  const [waves, left] = [Math.floor(blocks / slots), blocks % slots];
  const lastBlocks = Math.ceil(left / card.multiprocessors);
  const clocks = waves * together(occupancy.blocks) + (left > 0 ? together(lastBlocks) : 0);
  const even = blocks / card.multiprocessors;
  const clock = card.clock * (roles.some(({ mark }) => mark) ? card.loaded : 1);
  const seconds = {};
  for (const [unit, c] of Object.entries(sums)) seconds[unit] = (c * even) / clock;
  seconds.latency = (warpAlone * blocks) / slots / clock;
  seconds.L2 = Math.max(seconds.L2 ?? 0, l2 / (card.l2 * card.clock));
  seconds.DRAM = dram / (card.dram * card.attainable);
  const multiprocessor = clocks / clock;
  seconds.launch = launchSeconds(card, waits);
  const total = Math.max(multiprocessor, seconds.L2, seconds.DRAM) + seconds.launch;
  const [bound] = Object.entries(seconds).reduce((a, b) => (b[1] > a[1] ? b : a));
  // Blocks that run one loop after another, or a last wave that leaves multiprocessors idle, take longer than the busiest unit.
  const idle = multiprocessor > 1.15 * Math.max(...Object.values(seconds)) ? " + serial phases, waves" : "";
  const instructions = {};
  for (const role of roles)
    for (const [kind, n] of Object.entries(countKinds(role.segments)))
      instructions[kind] = (instructions[kind] ?? 0) + n * role.warps * blocks;
  return { total, seconds, bound: bound + idle, occupancy, waves: blocks / slots, instructions, dram, l2 };
}
