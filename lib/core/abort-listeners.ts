/** What waits for a signal, and its one listener. */
interface Waiting {
  functions: Set<() => void>;
  fire(): void;
}

const waitingFor = new WeakMap<AbortSignal, Waiting>();

/**
 * Has a function called once when a signal fires. Any number of calls may share a signal: they have one listener of it together, as
 * beyond ten of them Node warns of a leak of memory.
 * @returns takes it back
 */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  const own = () => act(); // the same function may wait twice
  const waiting = waitingFor.get(signal) ?? listenTo(signal);
  waiting.functions.add(own);
  return () => {
    waiting.functions.delete(own);
    if (waiting.functions.size > 0 || waitingFor.get(signal) !== waiting) return;
    waitingFor.delete(signal);
    signal.removeEventListener("abort", waiting.fire);
  };
}

function listenTo(signal: AbortSignal): Waiting {
  const functions = new Set<() => void>();
  const waiting = {
    functions,
    fire() {
      waitingFor.delete(signal);
      for (const act of functions) act();
    },
  };
  signal.addEventListener("abort", waiting.fire, { once: true });
  waitingFor.set(signal, waiting); // behind it: what is no signal has thrown
  return waiting;
}
