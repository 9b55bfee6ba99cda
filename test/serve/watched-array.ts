/** An array that counts how often its elements are read or listed. */
export function watched(element: unknown, length = 100_000): { array: unknown[]; reads: () => number } {
  let reads = 0;
  const array = new Proxy(Array(length).fill(element), {
    get(target, name, receiver) {
      if (typeof name === "string" && /^\d/.test(name)) reads++;
      return Reflect.get(target, name, receiver);
    },
    ownKeys(target) {
      reads += target.length;
      return Reflect.ownKeys(target);
    },
  });
  return { array, reads: () => reads };
}
