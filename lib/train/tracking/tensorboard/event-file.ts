import { type FileHandle, open, readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { crc32c } from "../../../formats/digest.ts";
import { ioError, makeFolder } from "../../../io/atomic-files.ts";
import { encodeEvent, type TensorBoardEvent } from "./event-message.ts";

const EVENT_FILE = /^events\.out\.tfevents\.(\d{1,15})\./;

/**
 * A TensorBoard event file: TFRecords of events. Each record is appended whole, so a killed run leaves at most one
 * truncated record, which readers ignore.
 */
export class EventFile {
  private readonly path: string;
  private readonly handle: FileHandle;
  /** Number of bytes of whole records. */
  private size = 0;
  /** Whether the folder had event files before. */
  readonly continues: boolean;

  private constructor(path: string, handle: FileHandle, continues: boolean) {
    this.path = path;
    this.handle = handle;
    this.continues = continues;
  }

  /** Creates the next file of a folder. @throws HeddleError NOT_FOUND, IO */
  static async create(folder: string): Promise<EventFile> {
    await makeFolder(folder);
    const names = await readdir(folder).catch((error: unknown) => {
      throw ioError(error, folder, "listed");
    });
    const times = names.flatMap((name) => EVENT_FILE.exec(name)?.slice(1).map(Number) ?? []);
    // Readers take the files in the order of their names.
    const time = times.reduce((latest, one) => Math.max(latest, one + 1), Math.floor(Date.now() / 1000));
    const name = `events.out.tfevents.${String(time).padStart(10, "0")}.${hostname() || "localhost"}.${process.pid}.0`;
    const path = join(folder, name);
    try {
      return new EventFile(path, await open(path, "ax"), times.length > 0);
    } catch (error) {
      throw ioError(error, path, "created");
    }
  }

  /** Appends an event. @throws HeddleError IO; the file then has no part of the event */
  async append(event: TensorBoardEvent): Promise<void> {
    const record = recordOf(encodeEvent(event));
    try {
      await this.handle.appendFile(record);
    } catch (error) {
      await this.handle.truncate(this.size).catch(() => undefined);
      throw ioError(error, this.path, "written");
    }
    this.size += record.length;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

/** A TFRecord: the length, its checksum, the data, its checksum, all little-endian. */
function recordOf(data: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(BigInt(data.length));
  head.writeUInt32LE(masked(crc32c(head.subarray(0, 8))), 8);
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(masked(crc32c(data)));
  return Buffer.concat([head, data, tail]);
}

/**
 * Masks a CRC as the TFRecord format requires: rotates it right by 15 bits and adds a constant. The CRC of data that
 * itself contains CRCs would otherwise detect fewer errors.
 */
function masked(sum: number): number {
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}
