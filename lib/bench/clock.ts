const STEPS = 1_000_000;

/**
 * Measures the current speed of a core: steps per second of a fixed chain of floating-point operations in JavaScript. No code of this package
 * is involved, so a slower kernel cannot affect it.
 */
export function clockRate(): number {
  let best = 0;
  // The best of three short measurements excludes interruptions.
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    const sum = chain();
    if (sum < 0) throw new Error(`clock: expected a positive sum, got ${sum}`);
    best = Math.max(best, STEPS / (performance.now() - start));
  }
  return best * 1000;
}

/** Each step depends on the previous one, so the processor cannot overlap them. */
function chain(): number {
  let x = 1;
  for (let i = 0; i < STEPS; i++) x = x * 0.999999 + 1e-6;
  return x;
}
