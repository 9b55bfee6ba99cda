// Reads and writes the tuning file of `heddle autotune`: for each device, the fastest measured kernel of each matrix product. The file is
// replaced atomically. It stores kernels by name, without their configurations. A device ignores a name that is not one of its kernels
// for the product.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import { binding } from "../binding/index.ts";
import type { CudaDeviceInfo } from "../binding/info.ts";
import { describe, HeddleError } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { readTemporaryName, TEMPORARY_FILE, temporaryName } from "../core/temp-files.ts";
import { isMissing } from "../io/is-missing.ts";

/** Maps a matrix product, as the device describes it, to the name of its kernel and tiles. */
type Choices = ReadonlyMap<string, string>;

const MAX_BYTES = 4 << 20;
const MAX_DEVICES = 64;
const MAX_CHOICES = 20_000;
/**
 * A product: m, n and k, the types of both operands and of the result, the layout, `+` if it adds to the result, and `*` if it is gated.
 * See gemm_key in native/cuda/runtime/tuning.h. `heddle autotune` does not measure the last two kinds.
 */
const KEY = /^[0-9]{1,15}( [0-9]{1,15}){2}( [a-z0-9_]{1,12}){3} [NT]{2}\+?\*?$/;
/** A kernel, its tile, and `parts` for split-k. See variant_name in native/cuda/runtime/tuning.h. */
const NAME = /^[a-z0-9_]{1,20} [0-9]{1,5}x[0-9]{1,5}( parts)?$/;

/** Returns the path from HEDDLE_TUNING, or that of a file in the user's cache folder. Undefined if HEDDLE_TUNING is `off`. */
export function tuningPath(): string | undefined {
  const given = process.env.HEDDLE_TUNING;
  if (given === "off") return undefined;
  if (given) return given;
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "heddle", "tuning.json");
}

/** Returns the key of a device in the file: the card, its driver, and the version of the kernels. */
export function tuningKey({ name, computeCapability, driver }: CudaDeviceInfo): string {
  return `${name}, ${computeCapability}, driver ${driver}, heddle ${binding.info().version}`;
}

/** Reads the file. A missing file counts as empty. @throws HeddleError INVALID_FILE for another kind of file, IO */
export function readTuning(path: string): Map<string, Choices> {
  let text: string;
  try {
    const found = statSync(path);
    if (!found.isFile() && !found.isDirectory()) throw invalid(path, "a regular file", "another kind"); // reading a pipe may block
    if (found.size > MAX_BYTES) throw invalid(path, `at most ${MAX_BYTES} bytes`, "more");
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    if (isMissing(error)) return new Map();
    const { code } = error as NodeJS.ErrnoException;
    throw new HeddleError("IO", `${path}: expected a file that can be read, got ${code}`, { cause: error });
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw invalid(path, "JSON", "something else");
  }
  if (!isObject(content) || content.format !== 1 || !isObject(content.devices))
    throw invalid(path, '{ "format": 1, "devices": { … } }', "something else");
  const devices = Object.entries(content.devices);
  if (devices.length > MAX_DEVICES) throw invalid(path, `at most ${MAX_DEVICES} devices`, `${devices.length}`);
  return new Map(devices.map(([device, choices]) => [device, checkedChoices(path, device, choices)]));
}

function checkedChoices(path: string, device: string, choices: unknown): Choices {
  const what = `${JSON.stringify(device.slice(0, 100))}:`;
  if (!isObject(choices)) throw invalid(path, `${what} an object of products`, describe(choices));
  const entries = Object.entries(choices);
  if (entries.length > MAX_CHOICES) throw invalid(path, `${what} at most ${MAX_CHOICES} products`, `${entries.length}`);
  for (const [key, name] of entries) {
    if (!KEY.test(key)) throw invalid(path, `${what} a product such as "64 4096 4096 bf16 bf16 f32 NT"`, describe(key));
    if (typeof name !== "string" || !NAME.test(name))
      throw invalid(path, `${what} a kernel such as "tensor 128x128"`, describe(name));
  }
  return new Map(entries as [string, string][]);
}

/**
 * Adds a device's choices to the file, and replaces existing choices for the same products. Drops what the file's limits
 * leave no room for: the devices that were measured longest ago, and the device's older choices.
 * @throws HeddleError INVALID_FILE if the existing file is not a tuning file, IO
 */
export function writeTuning(path: string, device: string, choices: Choices): void {
  const all = readTuning(path);
  const older = [...(all.get(device) ?? [])].filter(([product]) => !choices.has(product));
  // The new device comes last, so that the file lists devices in the order of their measurement.
  all.delete(device);
  all.set(device, new Map([...older, ...choices].slice(-MAX_CHOICES)));
  let text = textOf(all);
  while (all.size > 1 && (all.size > MAX_DEVICES || Buffer.byteLength(text) > MAX_BYTES)) {
    all.delete(all.keys().next().value!);
    if (all.size <= MAX_DEVICES) text = textOf(all);
  }
  const written = join(dirname(path), temporaryName(`.${basename(path)}`, TEMPORARY_FILE));
  try {
    mkdirSync(dirname(path), { recursive: true });
    for (const name of readdirSync(dirname(path)))
      if (name.startsWith(`.${basename(path)}.`) && readTemporaryName(name)?.ended) rmSync(join(dirname(path), name));
    writeFileSync(written, text, { flush: true });
    renameSync(written, path);
  } catch (error) {
    rmSync(written, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    throw new HeddleError("IO", `${path}: expected a file that can be written, got ${code}`, { cause: error });
  }
}

/** Returns the text of a tuning file. */
function textOf(all: ReadonlyMap<string, Choices>): string {
  const devices = Object.fromEntries([...all].map(([name, of]) => [name, Object.fromEntries([...of].sort())]));
  return `${JSON.stringify({ format: 1, devices }, null, 1)}\n`;
}

const warned = new Set<string>();

/** Returns the measured choices for a device. An unusable file is ignored with one warning. */
export function knownChoices(device: CudaDeviceInfo): Choices {
  const path = tuningPath();
  if (path === undefined) return new Map();
  try {
    return readTuning(path).get(tuningKey(device)) ?? new Map();
  } catch (error) {
    if (!warned.has(path))
      process.emitWarning(`ignoring measured kernels: ${(error as Error).message}`, {
        type: "HeddleWarning",
        code: "HEDDLE_TUNING",
      });
    warned.add(path);
    return new Map();
  }
}

function invalid(path: string, expected: string, got: string): HeddleError {
  return new HeddleError("INVALID_FILE", `${path}: expected ${expected}, got ${got}`);
}
