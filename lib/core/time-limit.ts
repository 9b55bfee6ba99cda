/** Settles like `work`, or with the result of `late` if `work` takes longer than `ms` milliseconds. `late` may throw. */
export function withTimeLimit<T>(work: Promise<T>, ms: number, late: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => {
      try {
        resolve(late());
      } catch (error) {
        reject(error);
      }
    };
    const timer = setTimeout(end, ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
