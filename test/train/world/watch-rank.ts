// The process of one rank, for watched-world.test.ts. Its world has no devices. A sum of 1 completes at once, and a sum of 0 never.

import { shareByPort } from "../../../lib/train/world/master-port.ts";
import { joinWatched } from "../../../lib/train/world/watched-world.ts";
import type { World } from "../../../lib/train/world/world.ts";

/** A task that the test gives a rank. */
export type Task =
  | "sum"
  | "wait"
  | "wait and ignore"
  | "wait and report"
  | "close"
  | "close and throw"
  | "exit"
  | "exit with 3";

const [rank, size, port, silenceSeconds] = process.argv.slice(2).map(Number) as [number, number, number, number];
const place = { rank, size, at: { address: "127.0.0.1", port, timeoutSeconds: 30 } };
const { world, leave } = await joinWatched({
  ...place,
  silenceSeconds,
  share: (id) => shareByPort(place.at, { rank, size, key: "test" }, id),
  async join(exchange) {
    await exchange(rank === 0 ? crypto.getRandomValues(new Uint8Array(128)) : new Uint8Array());
    // A sum of 0 never completes, like a sum of NCCL after a rank is lost.
    const sum = (values: readonly number[]) => new Promise<number[]>((done) => values[0] && done([...values]));
    return { rank, size, sum, allReduce: async () => {}, barrier: async () => {} } as World;
  },
});

const tasks: Record<Task, () => unknown> = {
  sum: () => world.sum([1]),
  wait: () => world.sum([0]),
  "wait and ignore": () => world.sum([0]).catch(() => {}),
  // As the command line does.
  "wait and report": () =>
    world.sum([0]).catch(({ message }) => {
      process.stderr.write(`heddle: ${message}\n`);
      process.exitCode = 2;
    }),
  close: leave,
  "close and throw"() {
    leave();
    throw new Error("no space");
  },
  exit: () => process.exit(0),
  "exit with 3": () => process.exit(3),
};
process.on("message", async (task: Task | "end") => {
  if (task === "end") return process.disconnect(); // nothing else keeps this process alive
  await tasks[task]();
  process.send!(task);
});
process.send!("ready");
