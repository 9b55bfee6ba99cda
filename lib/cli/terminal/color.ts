import { WriteStream } from "node:tty";
import { inspect } from "node:util";

/** A color or weight of text. */
export type Color = "bold" | "dim" | "red" | "yellow" | "cyan" | "magenta";

/**
 * Whether text for a stream may have colors: if it is a terminal with colors, or if FORCE_COLOR is set. NO_COLOR turns colors off.
 */
function hasColors(stream: { readonly isTTY?: boolean }): boolean {
  if (stream.isTTY !== true && process.env.FORCE_COLOR === undefined) return false;
  return WriteStream.prototype.getColorDepth.call(stream as WriteStream, process.env) > 1;
}

/** Returns a function that colors text for a stream. Without colors it returns the text as it is. */
export function painter(stream: { readonly isTTY?: boolean }): (color: Color, text: string) => string {
  if (!hasColors(stream)) return (_, text) => text;
  return (color, text) => {
    const [on, off] = inspect.colors[color]!;
    return text === "" ? "" : `\x1b[${on}m${text}\x1b[${off}m`;
  };
}
