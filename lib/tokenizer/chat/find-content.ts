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
 * @param from index at which the turn begins
 * @param common length of the common prefix of the text and a rendering in which the turn has another content, or none. The content
 * usually begins at this index. It begins earlier if both contents have a common prefix, and later if the template writes text before it.
 * It always ends after this index.
 */
export function findContent(text: string, content: string, from: number, common: number): number {
  if (content === "") return -1;
  const across = text.lastIndexOf(content, common);
  if (across >= from && across + content.length > common) return across;
  return text.indexOf(content, Math.max(from, common));
}
