// Which parts of lib/tokenizer have run, by V8's own block coverage: what guides a fuzzer to new code.
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
  /** Of each script, by offset: whether it has run; and, one higher than its place in the list, the innermost function there. */
  private readonly scripts = new Map<string, { ran: Uint8Array; owner: Uint32Array; functions: Map<string, number> }>();
  /** Characters of source that have run. */
  covered = 0;

  constructor() {
    this.session.connect();
    this.session.post("Profiler.enable");
    this.session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Adds what has run since the last call; says whether any of it never had. */
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
    // Functions come with those within them after them. One that has not run is only named once, so that a later answer about the
    // function around it says nothing of its code.
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
      // Ranges too come with those within them after them.
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
