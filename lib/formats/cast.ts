// Float types of stored weights, converted by native code.
import { binding } from "../binding.ts";
import { HeddleError } from "../errors.ts";
import { type FloatDtype, NATIVE_FLOAT } from "./dtype.ts";

/**
 * Little-endian elements in another float type, rounded to nearest even, after adding `addend`.
 * @throws HeddleError NUMERICAL where a finite value does not fit the narrower type; `name` is the tensor's
 */
export function castBytes(bytes: Uint8Array, from: FloatDtype, to: FloatDtype, name: string, addend = 0): Uint8Array {
  const cast = binding.castElements(bytes, NATIVE_FLOAT[from], NATIVE_FLOAT[to], addend);
  if (cast.overflows > 0)
    throw new HeddleError(
      "NUMERICAL",
      `${name}: expected values within the range of ${to}, got ${cast.overflows} outside`,
    );
  return new Uint8Array(cast.bytes);
}
