import { HeddleError } from "../../core/errors.ts";
import type { World } from "./world.ts";

/** A world whose ranks agree before every step whether they stop. */
export interface StoppingWorld extends World {
  /**
   * Asks all ranks whether to stop. If the caller's signal has fired on any rank, the signals of `stopTogether` fire on
   * all ranks.
   */
  agreeOnStop?(): Promise<void>;
}

/**
 * Makes all ranks stop after the same step. Otherwise a signal that fires on one rank would leave the others waiting
 * for it. Even signals that fire on all ranks may fire in different steps.
 * @returns the world, and the signal that replaces the caller's. It fires on all ranks, between two steps
 */
export function stopTogether(
  world: World | undefined,
  signal: AbortSignal | undefined,
): { world: StoppingWorld | undefined; signal: AbortSignal | undefined } {
  if (!world || world.size === 1) return { world, signal };
  const controller = new AbortController();
  const { gatherBytes, reduceScatter, allGather, broadcast, joinDevice } = world;
  return {
    signal: controller.signal,
    world: {
      rank: world.rank,
      size: world.size,
      overlap: world.overlap,
      allReduce: (tensors) => world.allReduce(tensors),
      sum: (values) => world.sum(values),
      barrier: () => world.barrier(),
      ...(reduceScatter && { reduceScatter: (parts) => reduceScatter.call(world, parts) }),
      ...(allGather && { allGather: (parts) => allGather.call(world, parts) }),
      ...(joinDevice && { joinDevice: (device) => joinDevice.call(world, device) }),
      ...(broadcast && { broadcast: (tensors, root) => broadcast.call(world, tensors, root) }),
      ...(gatherBytes && { gatherBytes: (bytes: Uint8Array) => gatherBytes.call(world, bytes) }),
      async agreeOnStop() {
        const [stopping] = await world.sum([signal?.aborted ? 1 : 0]);
        if (stopping! > 0) controller.abort(signal?.reason);
      },
    },
  };
}

/** Stops every rank if one rank has been aborted. @throws HeddleError ABORTED, on every rank */
export async function stopIfAgreed(world: StoppingWorld, signal: AbortSignal | undefined): Promise<void> {
  if (!world.agreeOnStop) return;
  await world.agreeOnStop();
  if (signal?.aborted) throw new HeddleError("ABORTED", "train: a rank was told to stop");
}
