type Flat<T> = { [K in keyof T]: T[K] };

/** `true` if two object types have the same properties with the same types and optionality; otherwise a compile error. */
export type Same<A, B> =
  (<T>() => T extends Flat<A> ? 1 : 2) extends <T>() => T extends Flat<B> ? 1 : 2
    ? true
    : { differs: { [K in keyof A | keyof B]: [K extends keyof A ? A[K] : "none", K extends keyof B ? B[K] : "none"] } };
