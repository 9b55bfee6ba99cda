/** Resolves a JSON pointer in a URI (RFC 6901), such as `#/$defs/name`. Returns undefined for a place that does not exist, and for other references. */
export function resolvePointer(reference: string, root: unknown): unknown {
  if (reference !== "#" && !reference.startsWith("#/")) return undefined;
  let value = root;
  for (let at = 1; at < reference.length; ) {
    const next = reference.indexOf("/", at + 1);
    const end = next < 0 ? reference.length : next;
    const key = decoded(reference.slice(at + 1, end));
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
    at = end;
  }
  return value;
}

/** Decodes a part of a JSON pointer in a URI. */
function decoded(part: string): string {
  let text = part;
  if (part.includes("%")) {
    try {
      text = decodeURIComponent(part);
    } catch {
      // The part contains a literal percent sign, so it is not URL-encoded.
    }
  }
  return text.replaceAll("~1", "/").replaceAll("~0", "~");
}
