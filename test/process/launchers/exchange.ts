// Gets rank 0's bytes at MASTER_PORT, the way that ranks get NCCL's id, and prints them. torchrun.full.test.ts bundles this file and starts it
// with torchrun.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { describeLaunch } from "../../../lib/train/world/launch.ts";
import { meetAtMaster } from "../../../lib/train/world/open-world.ts";

const launch = describeLaunch()!;
const { rank, size = 0, agentStore } = launch;
const mine = rank === 0 ? randomBytes(128) : new Uint8Array();
const got = await meetAtMaster({ rank, size }, launch, 60)(mine);
const attempt = Number(process.env.TORCHELASTIC_RESTART_COUNT);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
console.log(JSON.stringify({ rank, size, agentStore, attempt, mine: hex(mine), got: hex(got) }));
// The first attempt fails, so that torchrun starts all ranks again. Rank 0 has printed its line by then.
await sleep(1000);
if (rank === 1 && attempt === 0) process.exitCode = 1;
