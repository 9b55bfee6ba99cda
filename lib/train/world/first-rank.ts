import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import type { Metrics } from "../loop/stage.ts";
import { gather, type World } from "./world.ts";

/** Returns rank 0's measurement on every rank, so that all ranks decide by the same values. */
export async function fromFirst(world: World, measure: () => Metrics | Promise<Metrics>): Promise<Metrics> {
  return numbersOfFirst(world, world.rank === 0 ? checked(await measure()) : {});
}

/** Returns rank 0's numbers on every rank, exact to the last bit. */
export async function numbersOfFirst(world: World, mine: Metrics): Promise<Metrics> {
  // Send the values as strings, because JSON has no NaN and no infinity, and all ranks must compare the exact values.
  const ranks = await gather(
    world,
    Object.entries(mine).map(([name, value]) => [name, String(value)] as const),
  );
  return Object.fromEntries(ranks[0]!.map(([name, value]) => [name, Number(value)]));
}

function checked(metrics: Metrics): Metrics {
  const refuse = (got: unknown, name = "") => {
    const place = name && ` for ${name}`;
    return new HeddleError("INVALID_ARGUMENT", `evaluate: expected an object of numbers, got ${describe(got)}${place}`);
  };
  if (!isObject(metrics)) throw refuse(metrics);
  for (const [name, value] of Object.entries(metrics)) if (typeof value !== "number") throw refuse(value, name);
  return metrics;
}
