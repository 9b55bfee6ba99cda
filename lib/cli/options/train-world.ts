// The ranks of `heddle train` under a launcher.
import { setTimeout as sleep } from "node:timers/promises";
import { HeddleError } from "../../core/errors.ts";
import { describeLaunch } from "../../train/world/launch.ts";
import type { OpenWorld } from "../../train/world/open-world.ts";
import { stoppedWith } from "../terminal/interrupt.ts";

/** Where a stage trains. */
export interface Place {
  device: OpenWorld["device"] | string | undefined;
  threads: number | undefined;
  /** The ranks. Undefined: this process trains alone. */
  world?: OpenWorld | undefined;
}

/** Milliseconds that ranks other than 0 wait before they report a failure, so that rank 0 reports a shared failure first. */
const REPORT_DELAY_MS = 3000;

/**
 * Runs `work` in the launcher's world, or in this process alone without a launcher. Rank 0 reports a failure that all ranks share. Errors of
 * other ranks name the rank.
 * @returns the result; undefined on every rank but the first
 */
export async function inWorld<T>(
  place: { device: string | undefined; threads: number | undefined },
  work: (place: Place) => Promise<T>,
): Promise<T | undefined> {
  const launch = describeLaunch();
  if (!launch || launch.size === 1) return work(place);
  let world: OpenWorld | undefined;
  try {
    const { openWorld } = await import("../../train/world/open-world.ts");
    world = await openWorld(place);
    const result = await work({ device: world.device, threads: undefined, world });
    await world.close();
    return world.rank === 0 ? result : undefined;
  } catch (error) {
    // ABORTED means that all ranks agreed to stop. They can therefore close the world together.
    if (world && error instanceof HeddleError && error.code === "ABORTED") {
      await world.close();
      if (world.rank === 0) throw error;
      process.exitCode = stoppedWith();
      return undefined;
    }
    if (launch.rank > 0) await sleep(REPORT_DELAY_MS);
    throw named(error, launch.rank, launch.size);
  }
}

function named(error: unknown, rank: number, size: number | undefined): unknown {
  if (!(error instanceof HeddleError) || rank === 0) return error;
  return new HeddleError(error.code, `rank ${rank} of ${size ?? "several"}: ${error.message}`, { cause: error });
}
