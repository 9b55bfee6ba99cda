// Public exports only.
export { HeddleError, type HeddleErrorCode } from "./errors.ts";
