// Measures the memory of one case of the ops suite, without operands and gradients. It runs in a separate process, because scratch memory
// and garbage of other cases would distort the resident set.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { compile, type Device, openDevice } from "../../../lib/graph/index.ts";
import { peakResident } from "../../measure.ts";
import { operandsOf, opsCases } from "./ops-cases.ts";

const self = fileURLToPath(import.meta.url);

/** Returns the bytes that a case takes. Undefined if the system does not report them. */
export function extraBytes(name: string, device: Device): Promise<number | undefined> {
  const child = spawn(process.execPath, ["--expose-gc", "--import", "jiti/register", self, name, `${device.threads}`], {
    cwd: fileURLToPath(new URL("../../..", import.meta.url)),
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve((JSON.parse(text) as { bytes: number | null }).bytes ?? undefined);
      else reject(new Error(`ops-memory ${name}: expected exit code 0, got ${code}`));
    });
  });
}

/** Returns the resident set after some garbage collections, with time for the allocator to return memory to the system. */
async function settled(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    (globalThis as { gc?: () => void }).gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return process.memoryUsage.rss();
}

async function measure(name: string, threads: number): Promise<number | undefined> {
  const c = opsCases().find((one) => one.name === name);
  if (c?.gradientBytes === undefined) throw new Error(`ops-memory: expected a case with gradientBytes, got ${name}`);
  const device = openDevice({ threads });
  const tensors = await operandsOf(c, device);
  const executable = compile(c.build).bind(device, tensors);
  const before = await settled();
  // The first run touches the arena and the scratch memory. Without the gradients, these are the memory that the op needs.
  const peak = await peakResident(() => executable.run(c.inputs));
  return peak && peak - before - c.gradientBytes;
}

if (process.argv[1] === self) {
  const [, , name, threads] = process.argv;
  process.stdout.write(JSON.stringify({ bytes: (await measure(name!, Number(threads))) ?? null }));
}
