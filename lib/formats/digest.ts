// CRC-32C digests, which detect damage of stored bytes, but not tampering. CRC-32C is used because it is faster than
// disks.
import { binding } from "../binding/index.ts";
import { throwIfAborted } from "../core/errors.ts";
import type { Device } from "../graph/index.ts";
import { mapFile } from "../io/mapped-file.ts";
import { hostOf } from "./native-cast.ts";

/** Bytes per task on the lane, a few milliseconds' worth, so that other tasks of the device can run in between. */
const TURN = 1 << 25;

const shown = (sum: number) => `crc32c:${sum.toString(16).padStart(8, "0")}`;

/** A streaming digest, computed on a device's threads without blocking the event loop. */
export class Digest {
  private readonly lane: Device["lane"];
  private sum = 0;

  constructor(device: Device) {
    this.lane = hostOf(device).lane;
  }

  /** Adds `bytes`, which must not change until the promise settles. */
  async update(bytes: Uint8Array): Promise<void> {
    await this.take(bytes, bytes.length);
  }

  /** The digest of all bytes so far: `crc32c:` and eight hexadecimal digits. */
  get text(): string {
    return shown(this.sum);
  }

  /** Adds the first `bytes` bytes of a buffer or file, with all of the device's threads. @internal */
  async take(source: Parameters<Device["lane"]["crc32c"]>[0], bytes: number, signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < bytes; at += TURN) {
      throwIfAborted(signal, "digest");
      const found = await this.lane.crc32c(source, at, Math.min(TURN, bytes - at), this.sum);
      this.sum = new Uint32Array(found)[0]!;
    }
  }
}

/** Returns the CRC-32C of a few bytes, computed synchronously. */
export function crc32c(bytes: Uint8Array): number {
  return binding.crc32c(bytes);
}

/** Returns the digest of a short text, computed synchronously. */
export function digestOfText(text: string): string {
  return shown(binding.crc32c(Buffer.from(text)));
}

/**
 * Returns the digest of a file.
 * @throws HeddleError NOT_FOUND, IO, ABORTED
 */
export async function digestOfFile(
  path: string,
  { device, signal }: { device: Device; signal?: AbortSignal | undefined },
): Promise<string> {
  const file = mapFile(path);
  try {
    const digest = new Digest(device);
    await digest.take(file, file.size, signal);
    return digest.text;
  } finally {
    file.close();
  }
}
