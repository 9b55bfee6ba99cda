// Patterns of file names, with the rules of Python's fnmatch that Hugging Face's tools use: `*` matches slashes too.

/** Whether a path matches one of the patterns. */
export function matchesAny(path: string, patterns: readonly string[]): boolean {
  // A pattern that ends with a slash matches all files below that folder.
  return patterns.some((pattern) => matches(path, pattern.endsWith("/") ? `${pattern}*` : pattern));
}

/** Matches `*` and `?` in linear space, and in time of at most the product of both lengths. */
function matches(path: string, pattern: string): boolean {
  let [at, next, star, mark] = [0, 0, -1, 0];
  while (at < path.length) {
    if (next < pattern.length && pattern[next] === "*") {
      star = next++;
      mark = at;
    } else if (next < pattern.length && (pattern[next] === "?" || pattern[next] === path[at])) {
      next++;
      at++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++mark;
    } else return false;
  }
  while (pattern[next] === "*") next++;
  return next === pattern.length;
}
