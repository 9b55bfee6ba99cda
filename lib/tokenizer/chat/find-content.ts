// Finds a message's content in the rendered text of its turn. The mark-up before the content may contain the same text:
// "<|im_start|>assistant" contains "a".

/** Returns how many UTF-16 units two texts have in common at their beginnings. */
export function commonLength(one: string, other: string): number {
  const most = Math.min(one.length, other.length);
  let length = 0;
  while (length < most && one.charCodeAt(length) === other.charCodeAt(length)) length++;
  return length;
}

/**
 * Returns the index of a turn's content, or −1.
 * @param from where the turn begins
 * @param common how far the text agrees with a rendering of the turn with another content, or with none. The content
 * begins there, or before if both contents begin alike, or after if the template adds text. It never ends before.
 */
export function findContent(text: string, content: string, from: number, common: number): number {
  if (content === "") return -1;
  const across = text.lastIndexOf(content, common);
  if (across >= from && across + content.length > common) return across;
  return text.indexOf(content, Math.max(from, common));
}
