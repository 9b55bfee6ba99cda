// Writes amounts and lists for people.

/** Returns a number with its unit, such as `1 step` or `1,024 steps`. */
export function counted(n: number, unit: string): string {
  return `${n.toLocaleString("en")} ${unit}${n === 1 ? "" : "s"}`;
}

/** Returns a number with its unit and verb, such as `1 row was` or `1,024 rows were`. */
export function countedWere(n: number, unit: string): string {
  return `${counted(n, unit)} ${n === 1 ? "was" : "were"}`;
}

/** Lists names: `a`, `a and b`, `a, b and c`. */
export function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Lists the first names of a list that may be long: `a, b, c and 1,024 more`. */
export function firstOf(names: readonly (string | number)[], most: number, between = ", "): string {
  const rest = names.length - most;
  return names.slice(0, most).join(between) + (rest > 0 ? ` and ${rest.toLocaleString("en")} more` : "");
}

/** Formats a count: `9,216`, `2.41 million`. Counts from a million on are rounded to three significant digits. */
export function formatCount(n: number): string {
  if (n < 1e6) return n.toLocaleString("en");
  return n < 999.5e6 ? `${figure(n / 1e6)} million` : `${figure(n / 1e9)} billion`;
}

/** Formats bytes in decimal units, like disks and downloads: `1.5 GB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1e6) return `${figure(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${figure(bytes / 1e6)} MB`;
  return bytes < 1e12 ? `${figure(bytes / 1e9)} GB` : `${figure(bytes / 1e12)} TB`;
}

/** Formats a number with three significant digits. Numbers from 1000 on are rounded to integers. */
export function figure(value: number): string {
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

/** Formats a number for a table, with at least three significant digits: `0.120`, `12.0`, `1234`. */
export function tableNumber(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
