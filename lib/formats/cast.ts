// Element types of stored weights, converted by native code.
import { binding } from "../binding.ts";
import { HeddleError } from "../errors.ts";
import { type NumberDtype, nativeNumber } from "./dtype.ts";

/**
 * Little-endian elements (or whole blocks of a quantised type) in another type, rounded to nearest, after adding `addend`.
 * @throws HeddleError NUMERICAL where a value does not fit the narrower type (`name` is the tensor's), UNSUPPORTED for a
 *   quantised type that is only read
 */
export function castBytes(
  bytes: Uint8Array,
  from: NumberDtype,
  to: NumberDtype,
  name: string,
  addend = 0,
): Uint8Array<ArrayBuffer> {
  const cast = binding.castElements(bytes, nativeNumber(from), nativeNumber(to), addend);
  if (cast.overflows > 0)
    throw new HeddleError(
      "NUMERICAL",
      `${name}: expected values within the range of ${to}, got ${cast.overflows} outside`,
    );
  return new Uint8Array(cast.bytes);
}
