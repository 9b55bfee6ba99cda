// Worlds of NCCL whose ranks watch each other. NCCL itself waits forever for a rank that has ended.
import type { HeddleError } from "../../core/errors.ts";
import { endProcess } from "../../io/end-process.ts";
import { PeerWatch } from "./peer-watch.ts";
import { atProcessEnd } from "./process-end.ts";
import { connectWatch, type WatchPlace } from "./watch-connections.ts";
import type { World } from "./world.ts";

/** Milliseconds between the loss of a rank and the end of this process. Meanwhile the program can save its work. */
const GRACE_MS = 10_000;

/** The ranks, how they meet, and how they connect. */
interface Watched extends Omit<WatchPlace, "secret"> {
  silenceSeconds: number;
  /** Gives rank 0's bytes to all ranks. */
  share(id: Uint8Array): Promise<Uint8Array>;
  /** Connects the devices, with the bytes that `exchange` returns. */
  join(exchange: (id: Uint8Array) => Promise<Uint8Array>): Promise<World>;
}

/**
 * Connects a world in which every operation fails as soon as a rank is lost. The error names the rank. All processes of the world end some
 * seconds later, because their devices wait for the lost rank.
 * @returns the world, and a function that leaves it
 * @throws HeddleError as `join` and `connectWatch`
 */
export async function joinWatched(options: Watched): Promise<{ world: World; leave: () => void }> {
  const { rank, size, silenceSeconds } = options;
  const watch = new PeerWatch({
    rank,
    size,
    silenceSeconds,
    onLost: (loss) => endAfterLoss(rank, loss),
    onDisconnected: () => void (watch.isLost || forget()),
  });
  const forget = atProcessEnd(options, (code, isCrash) => {
    // The last message reaches the other ranks although the process ends: Node writes to a socket at once if its queue is empty.
    if (code === 0) watch.leave();
    else if (isCrash || !watch.hasLeft) watch.fail();
    if (isCrash || watch.isLost) endProcess(code);
  });
  const exchange = async (id: Uint8Array) => {
    const secret = await options.share(id);
    await connectWatch(watch, { ...options, secret });
    return secret;
  };
  try {
    const world = await watch.orLost(() => options.join(exchange));
    return { world: watchedBy(watch, world), leave: () => watch.leave() };
  } catch (error) {
    watch.fail();
    throw error;
  }
}

/** Makes the operations of a world fail when a rank is lost. */
function watchedBy(watch: PeerWatch, world: World): World {
  const operations = Object.entries(world)
    .filter(([name, member]) => typeof member === "function" && name !== "joinDevice") // joinDevice is not an operation of all ranks
    .map(([name, run]) => [name, (...args: unknown[]) => watch.during(() => run.apply(world, args))]);
  return { ...world, ...Object.fromEntries(operations) };
}

/** Ends this process after the grace period. Reports the loss, unless the program has already reported it. */
function endAfterLoss(rank: number, loss: HeddleError): void {
  const end = () => {
    // The command line sets the exit code when it reports an error.
    if (!process.exitCode) process.stderr.write(`heddle: rank ${rank}: ${loss.message}; all ranks end\n`);
    endProcess(Number(process.exitCode) || 1);
  };
  setTimeout(end, GRACE_MS).unref();
}
