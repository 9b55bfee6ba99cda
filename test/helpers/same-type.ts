type Flat<T> = { [K in keyof T]: T[K] };

/** `true` where two object types have the same properties, of the same types and as optional; else an error of the compiler. */
export type Same<A, B> =
  (<T>() => T extends Flat<A> ? 1 : 2) extends <T>() => T extends Flat<B> ? 1 : 2
    ? true
    : { differs: { [K in keyof A | keyof B]: [K extends keyof A ? A[K] : "none", K extends keyof B ? B[K] : "none"] } };
