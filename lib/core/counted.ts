/** Returns a number with its unit, such as `1 step` or `1,024 steps`. */
export function counted(n: number, unit: string): string {
  return `${n.toLocaleString("en")} ${unit}${n === 1 ? "" : "s"}`;
}
