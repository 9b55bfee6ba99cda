/** The callbacks registered for a signal, and the one listener that calls them. */
interface Waiting {
  functions: Set<() => void>;
  fire(): void;
}

const waitingFor = new WeakMap<AbortSignal, Waiting>();

/**
 * Calls a function once when a signal fires. All calls for a signal share one listener, because Node warns of a memory leak if there are
 * more than ten.
 * @returns a function that cancels the registration
 */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  const own = () => act(); // a new function, because the caller may register the same function twice
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
  waitingFor.set(signal, waiting); // last, because addEventListener throws for an invalid signal
  return waiting;
}
