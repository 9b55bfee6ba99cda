// Formats numbers for reports.
import { formatCount } from "../core/amounts.ts";

/** Formats a share as a percentage: `5 %`. Small shares have one decimal. */
export function percent(value: number): string {
  return `${(100 * value).toFixed(value > 0 && value < 0.0995 ? 1 : 0)} %`;
}

/** Formats a duration: `4.2 s`, `3 min 20 s`, `1 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < 59.5) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  if (seconds < 60) return "1 min 0 s";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${grouped(Math.floor(seconds / 3600))} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** Separates groups of three digits by narrow spaces instead of commas. */
const spaced = (text: string): string => text.replaceAll(",", "\u202f");

/** Formats a number with a narrow space between groups of three digits. */
export const grouped = (value: number): string => spaced(value.toLocaleString("en"));

/** Formats a count like `formatCount`, with narrow spaces instead of commas. */
export const groupedCount = (value: number): string => spaced(formatCount(value));
