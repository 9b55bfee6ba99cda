// Gives rank 0's bytes to all ranks over MASTER_PORT, for launchers that set the variable but have no store. A rank that
// connects sends `heddle/1 KEY RANK` and a line break. Rank 0 answers with its bytes and closes the connection.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { HeddleError } from "../../core/errors.ts";
import type { StoreAddress } from "./torch-store.ts";

/** Maximum length of a request. */
const MAX_REQUEST = 1024;
/** Maximum number of rank 0's bytes. */
const MAX_BYTES = 1 << 20;
/** Milliseconds between attempts to connect, because rank 0 may start later. */
const RETRY_MS = 200;

/** The ranks that meet. */
export interface Meeting {
  rank: number;
  size: number;
  /** The same on all ranks, and different from other runs that might use the port. */
  key: string;
}

/**
 * Shares rank 0's bytes with all ranks. Rank 0 listens on the port, and returns at once. It stops listening when all ranks have the bytes,
 * or after the time limit.
 * @param mine rank 0's bytes
 * @returns rank 0's bytes
 * @throws HeddleError NOT_FOUND if rank 0 does not answer in time, INVALID_ARGUMENT if its port is taken or the keys differ, IO
 */
export async function shareByPort(at: StoreAddress, meeting: Meeting, mine: Uint8Array): Promise<Uint8Array> {
  if (meeting.rank > 0) return await askRankZero(at, meeting);
  await serve(at, meeting, mine);
  return mine;
}

const nameOf = ({ address, port }: StoreAddress) => `MASTER_ADDR: rank 0 at ${address}:${port}`;
const wordOf = (key: string) => encodeURIComponent(key);

async function serve(at: StoreAddress, { size, key }: Meeting, mine: Uint8Array): Promise<void> {
  const served = new Set<string>();
  const server: Server = createServer((socket) => {
    socket.unref().on("error", () => {}); // the rank tries again
    socket.setTimeout(10_000, () => socket.destroy());
    let request = "";
    socket.setEncoding("latin1").on("data", (text: string) => {
      request += text;
      if (request.length > MAX_REQUEST) socket.destroy();
      const [, given, rank] = /^heddle\/1 (\S*) (\d{1,9})\n/.exec(request) ?? [];
      if (rank === undefined) return;
      if (given !== wordOf(key)) return void socket.end(`other ${wordOf(key)}\n`);
      socket.end(Buffer.concat([Buffer.from("found\n"), mine]), () => {
        served.add(rank);
        if (served.size === size - 1) server.close();
      });
    });
  });
  server.listen(at.port);
  try {
    await once(server, "listening");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const taken = code === "EADDRINUSE" || code === "EACCES";
    throw new HeddleError(
      taken ? "INVALID_ARGUMENT" : "IO",
      `MASTER_PORT: expected a port on which rank 0 can listen, got ${at.port} (${code ?? message})`,
      { cause },
    );
  }
  server.unref();
  setTimeout(() => server.close(), at.timeoutSeconds * 1000).unref();
}

async function askRankZero(at: StoreAddress, { rank, key }: Meeting): Promise<Uint8Array> {
  const end = performance.now() + at.timeoutSeconds * 1000;
  for (let why = "no answer"; ; await sleep(RETRY_MS)) {
    const left = end - performance.now();
    if (left <= 0)
      throw new HeddleError("NOT_FOUND", `${nameOf(at)}: timed out after ${at.timeoutSeconds} s, got ${why}`);
    const socket = connect(at.port, at.address);
    const timer = setTimeout(() => socket.destroy(new Error("no answer")), left);
    try {
      await once(socket, "connect");
      socket.write(`heddle/1 ${wordOf(key)} ${rank}\n`);
      return answerIn(at, key, await readAll(socket));
    } catch (error) {
      if (error instanceof HeddleError) throw error;
      const { code, message } = error as NodeJS.ErrnoException;
      why = code ?? message;
    } finally {
      clearTimeout(timer);
      socket.destroy();
    }
  }
}

/** Reads until the other side closes. @throws Error if there are too many bytes */
async function readAll(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of socket as AsyncIterable<Buffer>) {
    parts.push(part);
    bytes += part.length;
    if (bytes > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes`);
  }
  return Buffer.concat(parts);
}

function answerIn(at: StoreAddress, key: string, bytes: Buffer): Uint8Array {
  const end = bytes.indexOf(10);
  const head = bytes.toString("latin1", 0, Math.max(0, end));
  if (head === "found") return new Uint8Array(bytes.subarray(end + 1));
  const other = /^other (\S*)$/.exec(head)?.[1];
  if (other !== undefined)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${nameOf(at)}: expected the run ${key}, got ${decodeURIComponent(other)}; give each run its own MASTER_PORT`,
    );
  throw new Error(bytes.length === 0 ? "a closed connection" : "an answer of another program");
}
