/** What of some options is given: one that is undefined is as if it was left out, and does not hide what it would replace. */
export function given<Options extends object>(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Options;
}
