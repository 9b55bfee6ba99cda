// Runs the quick lifecycle in the given folder and prints its progress, for tests that kill it.
import { writeSync } from "node:fs";
import { lifecycle } from "../../lib/lifecycle/lifecycle.ts";

for await (const event of lifecycle({ out: process.argv[2]!, quick: true })) {
  if (event.type === "step") writeSync(1, `${event.stage} ${event.step}\n`);
  if (event.type === "done") writeSync(1, `${event.stage} done\n`);
}
