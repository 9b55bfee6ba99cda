// Block coverage of lib/tokenizer from V8, which guides the fuzzer to new code.
import { Session } from "node:inspector";

interface Range {
  startOffset: number;
  endOffset: number;
  count: number;
}
interface Script {
  scriptId: string;
  url: string;
  functions: { ranges: Range[] }[];
}

export class Coverage {
  private readonly session = new Session();
  /** Per script and offset: whether the code has run, and the number of its innermost function (from 1). */
  private readonly scripts = new Map<string, { ran: Uint8Array; owner: Uint32Array; functions: Map<string, number> }>();
  /** Number of source characters that have run. */
  covered = 0;

  constructor() {
    this.session.connect();
    this.session.post("Profiler.enable");
    this.session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Adds the code that has run since the last call. Returns whether any of it is new. */
  take(): boolean {
    let result: Script[] = [];
    this.session.post("Profiler.takePreciseCoverage", (error, taken) => {
      if (error) throw error;
      result = taken.result;
    });
    const before = this.covered;
    for (const script of result) if (script.url.includes("/lib/tokenizer/")) this.add(script);
    return this.covered > before;
  }

  stop(): void {
    this.session.post("Profiler.stopPreciseCoverage");
    this.session.disconnect();
  }

  private add({ scriptId, functions }: Script): void {
    const end = functions.reduce((most, { ranges }) => Math.max(most, ranges[0]!.endOffset), 0);
    let script = this.scripts.get(scriptId);
    if (!script || script.ran.length < end) {
      const grown = { ran: new Uint8Array(end), owner: new Uint32Array(end), functions: new Map<string, number>() };
      if (script) {
        grown.ran.set(script.ran);
        grown.owner.set(script.owner);
        grown.functions = script.functions;
      }
      script = grown;
      this.scripts.set(scriptId, script);
    }
    // Functions are listed before the functions nested in them. V8 reports an unexecuted function just once. Later counts of the
    // enclosing function say nothing about the nested function's code.
    for (const { ranges } of functions) {
      const { startOffset, endOffset } = ranges[0]!;
      const name = `${startOffset}-${endOffset}`;
      if (script.functions.has(name)) continue;
      const number = script.functions.size + 1;
      script.functions.set(name, number);
      script.owner.fill(number, startOffset, endOffset);
    }
    for (const { ranges } of functions) {
      const outer = ranges[0]!;
      if (outer.count === 0) continue;
      const number = script.functions.get(`${outer.startOffset}-${outer.endOffset}`);
      const runs = new Uint8Array(outer.endOffset - outer.startOffset);
      // Ranges are listed before the ranges nested in them.
      for (const range of ranges) {
        runs.fill(range.count > 0 ? 1 : 0, range.startOffset - outer.startOffset, range.endOffset - outer.startOffset);
      }
      for (let i = 0; i < runs.length; i++) {
        const at = outer.startOffset + i;
        if (!runs[i] || script.ran[at] || script.owner[at] !== number) continue;
        script.ran[at] = 1;
        this.covered++;
      }
    }
  }
}
