// What the rendering of chat templates may take. Templates come from strangers.
import { TimeoutError, withinTime } from "./watchdog.ts";

export const renderLimits = {
  /** Of all renderings of one call together. */
  milliseconds: 1000,
  /** Bytes of all values that one rendering makes, together: at most so many can be alive. */
  bytes: 64 << 20,
  /** Statements and expressions evaluated. */
  steps: 5_000_000,
  /** UTF-16 units of any string, the output included. */
  characters: 1 << 24,
  /** UTF-16 units of a string whose characters become values or matches of their own for a while. */
  taken: 1 << 21,
  /** Elements of any array. */
  elements: 100_000,
  range: 10_000,
} as const;

/** Bytes of a UTF-16 unit, and about so many of an element with its value, or of one that an array shares with another. */
export const sizes = { unit: 2, element: 64, shared: 16, entry: 256 } as const;

/** A limit above was hit. */
export class LimitError extends Error {}

/** Bytes that the rendering under way may still make. There is one at a time: it is synchronous. */
let left = Number.POSITIVE_INFINITY;

/** Counts bytes that are about to be made. @throws LimitError */
export function spend(bytes: number): void {
  left -= bytes;
  if (!(left >= 0)) throw new LimitError(`values of more than ${renderLimits.bytes >> 20} MB together`);
}

/** Gives back what was spent on something that is not alive any more. */
export function giveBack(bytes: number): void {
  left += bytes;
}

/** Counts a string of so many units that is about to be made. @throws LimitError */
export function spendText(length: number): void {
  if (!(length <= renderLimits.characters))
    throw new LimitError(`a text of more than ${renderLimits.characters} characters`);
  spend(sizes.unit * length);
}

/** That a string is short enough to be taken apart. @throws LimitError */
export function checkTaken(text: string): void {
  if (text.length > renderLimits.taken)
    throw new LimitError(`a text of more than ${renderLimits.taken} characters to take apart`);
}

/** @throws LimitError */
export function checkElements(count: number): void {
  if (!(count <= renderLimits.elements))
    throw new LimitError(`an array of more than ${renderLimits.elements} elements`);
}

/** Runs one rendering, whose values are counted. */
export function withinBytes<T>(render: () => T): T {
  const outer = left;
  left = renderLimits.bytes;
  try {
    return render();
  } finally {
    left = outer;
  }
}

/** The time that all renderings of one call have together. */
export class RenderTime {
  private left: number = renderLimits.milliseconds;

  /** Runs `body` at once. @throws TimeoutError when the time is used up */
  run<T>(body: () => T): T {
    if (this.left <= 0) throw this.late();
    const begun = performance.now();
    try {
      return withinTime(Math.ceil(this.left), body);
    } finally {
      this.left -= performance.now() - begun;
    }
  }

  /** Work in slices, of which the pauses do not count. @throws TimeoutError when the time is used up */
  *slices<T>(work: Generator<void, T, undefined>): Generator<void, T, undefined> {
    for (;;) {
      const begun = performance.now();
      const step = work.next();
      this.left -= performance.now() - begun;
      if (step.done) return step.value;
      if (this.left <= 0) throw this.late();
      yield;
    }
  }

  private late(): TimeoutError {
    return new TimeoutError(`took more than ${renderLimits.milliseconds} ms`);
  }
}
