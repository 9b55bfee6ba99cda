import { mul, type Value } from "../../graph/index.ts";

/** Returns x², elementwise. */
export function square(x: Value): Value {
  return mul(x, x);
}
