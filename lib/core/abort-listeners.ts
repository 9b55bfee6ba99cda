/** The callbacks registered for a signal, and the one listener that calls them. */
interface Registration {
  functions: Set<() => void>;
  fire(): void;
}

const registrations = new WeakMap<AbortSignal, Registration>();

/**
 * Calls a function once when a signal fires, or at once if it has fired. All calls for a signal share one listener, because Node warns of a
 * memory leak if there are more than ten.
 * @returns a function that cancels the registration
 */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  if (signal.aborted) {
    act();
    return () => {};
  }
  const own = () => act(); // a new function, because the caller may register the same function twice
  const registration = registrations.get(signal) ?? listenTo(signal);
  registration.functions.add(own);
  return () => {
    registration.functions.delete(own);
    if (registration.functions.size > 0 || registrations.get(signal) !== registration) return;
    registrations.delete(signal);
    signal.removeEventListener("abort", registration.fire);
  };
}

function listenTo(signal: AbortSignal): Registration {
  const functions = new Set<() => void>();
  const registration = {
    functions,
    fire() {
      registrations.delete(signal);
      for (const act of functions) act();
    },
  };
  signal.addEventListener("abort", registration.fire, { once: true });
  registrations.set(signal, registration); // last, because addEventListener throws for an invalid signal
  return registration;
}

/** Settles like `work`. Calls `cancel` if the signal fires before that. */
export async function cancellable<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  cancel: () => void,
): Promise<T> {
  work.catch(() => {}); // if the signal is invalid, onAbort throws, and nobody else handles a rejection
  const forget = signal && onAbort(signal, cancel);
  try {
    return await work;
  } finally {
    forget?.();
  }
}
