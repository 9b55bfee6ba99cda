// Optional packages, which users install next to heddle.

/** Imports a package, or returns undefined if it is not installed. `name` is a parameter, so that bundlers do not look for the package. */
export async function optionalPackage<T>(name: string): Promise<T | undefined> {
  try {
    return (await import(name)) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}
