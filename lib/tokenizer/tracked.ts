// Text that remembers where it came from, for offsets through normalizers.

/**
 * `sources`, where offsets are wanted: for each UTF-16 unit of `text` two numbers, the offsets in the original text at
 * which what became this unit begins and ends.
 */
export interface Tracked {
  text: string;
  sources?: Uint32Array;
}

/** The original text, as it stands at `offset` of a longer one. */
export function track(text: string, offset: number): Tracked {
  const sources = new Uint32Array(2 * text.length);
  for (let i = 0; i < text.length; ) {
    const size = text.codePointAt(i)! > 0xffff ? 2 : 1;
    for (let k = 0; k < size; k++) {
      sources[2 * (i + k)] = offset + i;
      sources[2 * (i + k) + 1] = offset + i + size;
    }
    i += size;
  }
  return { text, sources };
}

export function slice(tracked: Tracked, begin: number, end: number): Tracked {
  return { text: tracked.text.slice(begin, end), sources: tracked.sources?.subarray(2 * begin, 2 * end) };
}

/** Collects replaced stretches of a text, left to right. */
export class Rewriter {
  private readonly texts: string[] = [];
  private readonly sources: number[] | undefined;
  private readonly from: Tracked;
  private at = 0;

  constructor(from: Tracked) {
    this.from = from;
    this.sources = from.sources ? [] : undefined;
  }

  /** Keeps the text up to `begin` and puts `content` in the place of [begin, end). */
  replace(begin: number, end: number, content: string): void {
    this.keep(begin);
    this.texts.push(content);
    if (this.sources) {
      const old = this.from.sources!;
      // An insertion has no extent of its own in the original.
      const here = begin < this.from.text.length ? old[2 * begin]! : (old.at(-1) ?? 0);
      const last = end > begin ? old[2 * end - 1]! : here;
      for (let i = 0; i < content.length; i++) this.sources.push(here, last);
    }
    this.at = end;
  }

  finish(): Tracked {
    if (this.at === 0 && this.texts.length === 0) return this.from;
    this.keep(this.from.text.length);
    return { text: this.texts.join(""), sources: this.sources && Uint32Array.from(this.sources) };
  }

  private keep(end: number): void {
    this.texts.push(this.from.text.slice(this.at, end));
    if (this.sources) for (let i = 2 * this.at; i < 2 * end; i++) this.sources.push(this.from.sources![i]!);
    this.at = end;
  }
}
