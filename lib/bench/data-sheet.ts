import type { BenchResult, CeilingName } from "./types.ts";

/** Rates of a card according to NVIDIA's data sheets: 10¹² operations per second without sparsity, and 10¹² bytes per second. */
type Rates = Partial<Record<CeilingName, number>>;

/**
 * Rates by words of the card's name. The first match is used. Sources, all by NVIDIA:
 *
 * - B200: the data sheets of DGX B200 (64 TB/s) and HGX B200 (36 PFLOP/s of bf16 with sparsity, 600 TFLOP/s of f32), for eight cards.
 * - H200, H100 and A100: "H200 Tensor Core GPU", "H100 Tensor Core GPU" and "A100 Tensor Core GPU", data sheets.
 * - L40S and L4: "L40S GPU for Data Center" and "L4 Tensor Core GPU", data sheets.
 * - RTX 3090, 4090 and 5090: the white papers "Ampere GA102", "Ada GPU Architecture" and "RTX Blackwell GPU Architecture".
 *
 * The bf16 rates of RTX cards are those with f32 sums. Data sheets that give rates with sparsity count twice the operations.
 */
const CARDS: readonly (readonly [string, Rates])[] = [
  ["B200", { f32: 75, bf16: 2250, read: 8 }],
  ["H200 NVL", { f32: 60, bf16: 835, read: 4.8 }],
  ["H200", { f32: 67, bf16: 989, read: 4.8 }],
  ["H100 PCIe", { f32: 51, bf16: 756, read: 2 }],
  ["H100 NVL", { f32: 60, bf16: 835, read: 3.9 }],
  ["H100", { f32: 67, bf16: 989, read: 3.35 }],
  ["A100-SXM4-80GB", { f32: 19.5, bf16: 312, read: 2.039 }],
  ["A100 80GB PCIe", { f32: 19.5, bf16: 312, read: 1.935 }],
  ["A100", { f32: 19.5, bf16: 312, read: 1.555 }],
  ["L40S", { f32: 91.6, bf16: 362, read: 0.864 }],
  ["L4", { f32: 30.3, bf16: 121, read: 0.3 }],
  ["RTX 3090 Ti", { f32: 40, bf16: 80, read: 1.008 }],
  ["RTX 3090", { f32: 35.6, bf16: 71, read: 0.936 }],
  ["RTX 4090", { f32: 82.6, bf16: 165.2, read: 1.008 }],
  ["RTX 5090", { f32: 104.8, bf16: 209.5, read: 1.792 }],
];

/**
 * Returns the rates of a card by the name that its driver reports. Only whole words match: a GH200 is not an H200. Slower variants of a card,
 * which have an additional word in their name, and MIG parts of a card are unknown.
 */
function ratesOf(gpu: string): Rates | undefined {
  if (/\b(?:MIG|Laptop|Max-Q|D)\b/u.test(gpu)) return undefined;
  return CARDS.find(([name]) => new RegExp(`\\b${name}\\b`, "u").test(gpu))?.[1];
}

/**
 * Returns the share of the data sheet's rate that a case reached, or undefined for an unknown card or a case without a bound. f32 products
 * that round to TF32 have no share, because the data sheet's rate is that of f32 without TF32.
 */
export function dataSheetShare(
  gpu: string | number | undefined,
  { roofline, ceiling }: BenchResult,
  allowTf32: boolean,
): number | undefined {
  if (roofline === null || ceiling === null || (ceiling.name === "f32" && allowTf32)) return undefined;
  const peak = ratesOf(String(gpu))?.[ceiling.name];
  return peak === undefined ? undefined : (roofline * ceiling.value) / (peak * 1e12);
}
