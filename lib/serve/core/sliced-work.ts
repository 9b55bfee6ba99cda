import { atOnce, type Slices } from "../../core/slices.ts";
import { LONG_TEXT } from "../../tokenizer/text-codec.ts";
import { inTurn } from "../http/semaphore.ts";
import type { Exchange } from "./context.ts";
import { charactersOf } from "./prompts.ts";

/**
 * Runs work whose time grows with a request's data. It runs at once if the data is short. Otherwise it runs in slices,
 * one request at a time.
 * @throws the signal's reason; as `work`
 */
export async function runSliced<T>({ service, signal }: Exchange, data: unknown, work: () => Slices<T>): Promise<T> {
  // Counting stops at the limit, so it takes little time.
  const isShort = charactersOf(data, LONG_TEXT) < LONG_TEXT;
  return isShort ? atOnce(work()) : inTurn(service.preparing, work, signal);
}
