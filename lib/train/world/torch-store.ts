// A client of the key-value store of torchrun's agent (TCPStore of PyTorch, torch/csrc/distributed/c10d). Integers are little-endian.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { HeddleError } from "../../core/errors.ts";

/** Codes of the store's requests. */
const VALIDATE = 0;
const SET = 1;
const GET = 3;
const WAIT = 6;
/** The first request contains this number, which identifies a client of the store. */
const MAGIC = 0x3c85f7ce;
/** PyTorch puts this before every key. */
const PREFIX = "/";
/** Values are small. A longer value is not from another rank of heddle. */
const MAX_BYTES = 1 << 20;

/** How to reach a store. */
export interface StoreAddress {
  address: string;
  port: number;
  timeoutSeconds: number;
}

/**
 * Shares rank 0's bytes with all ranks through the store.
 * @param key the same on all ranks, and new in every attempt of a run
 * @returns rank 0's bytes
 * @throws HeddleError NOT_FOUND if rank 0 does not store them in time, IO
 */
export async function shareByStore(at: StoreAddress, key: string, mine: Uint8Array | undefined): Promise<Uint8Array> {
  const name = `MASTER_ADDR: the store at ${at.address}:${at.port}`;
  const socket = connect(at.port, at.address);
  socket.setNoDelay(true);
  const timer = setTimeout(
    () =>
      socket.destroy(
        new HeddleError("NOT_FOUND", `${name}: timed out after ${at.timeoutSeconds} s waiting for rank 0`),
      ),
    at.timeoutSeconds * 1000,
  );
  try {
    await once(socket, "connect");
    const reader = new Reader(socket);
    const magic = Buffer.alloc(4);
    magic.writeUInt32LE(MAGIC);
    socket.write(Buffer.concat([Buffer.of(VALIDATE), magic]));
    if (mine) socket.write(Buffer.concat([Buffer.of(SET), sized(PREFIX + key), sized(mine)]));
    // Rank 0 waits too, to be sure that the store has its bytes.
    socket.write(Buffer.concat([Buffer.of(WAIT), length(1), sized(PREFIX + key)]));
    const [response] = await reader.read(1);
    if (response !== 0) throw new HeddleError("IO", `${name}: expected the response 0, got ${response}`);
    socket.write(Buffer.concat([Buffer.of(GET), sized(PREFIX + key)]));
    const size = (await reader.read(8)).readBigUInt64LE();
    if (size > MAX_BYTES) throw new HeddleError("IO", `${name}: expected at most ${MAX_BYTES} bytes, got ${size}`);
    return new Uint8Array(await reader.read(Number(size)));
  } catch (cause) {
    if (cause instanceof HeddleError) throw cause;
    throw new HeddleError("IO", `${name}: expected a store that answers, got ${(cause as Error).message}`, { cause });
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** Reads a socket in pieces of given lengths. */
class Reader {
  private readonly chunks: AsyncIterator<Buffer>;
  private rest = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.chunks = socket[Symbol.asyncIterator]();
  }

  async read(bytes: number): Promise<Buffer> {
    while (this.rest.length < bytes) {
      const { value, done } = await this.chunks.next();
      if (done) throw new Error("a closed connection");
      this.rest = Buffer.concat([this.rest, value]);
    }
    const found = this.rest.subarray(0, bytes);
    this.rest = this.rest.subarray(bytes);
    return found;
  }
}

function length(count: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(count));
  return bytes;
}

function sized(data: string | Uint8Array): Buffer {
  const bytes = Buffer.from(data as string);
  return Buffer.concat([length(bytes.length), bytes]);
}
