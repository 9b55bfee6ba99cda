import { canRewriteLines, LiveLine } from "./live-line.ts";

/**
 * Shows progress in a live line on a terminal's stderr: a bar with its share, or the amount done. Without a terminal it
 * shows nothing.
 */
export class WorkProgress extends LiveLine {
  private last = 0;

  /**
   * Updates the line.
   * @param text text after the bar. If it has several parts, the last ones are left out where the line is too short
   * @param total value of `done` at the end. Default: no bar
   */
  update(text: string | readonly string[], done = 0, total?: number): void {
    if (!canRewriteLines(this.stream)) return;
    const now = performance.now();
    if (this.shown && now - this.last < 100 && done !== total) return;
    this.last = now;
    this.show([...bar(done, total), ...[text].flat()]);
  }
}

function bar(done: number, total: number | undefined): string[] {
  if (total === undefined || total <= 0) return [];
  const width = 24;
  const share = Math.min(1, done / total);
  // Round down, so that 100 % means complete.
  return [`${"█".repeat(Math.floor(share * width)).padEnd(width, "░")} ${Math.floor(100 * share)} %`];
}
