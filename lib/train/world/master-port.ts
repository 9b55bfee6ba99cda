// Gives rank 0's bytes to all ranks over MASTER_PORT, for launchers that set the variable but have no store. A rank that connects sends
// `heddle/1 KEY SIZE RANK` and a line break. Rank 0 answers with `found LENGTH`, a line break and its bytes. The rank confirms them with `ok`.
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { firstOf } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import type { StoreAddress } from "./torch-store.ts";

/** Maximum length of a request. */
export const MAX_REQUEST = 1024;
/** Maximum number of rank 0's bytes. */
const MAX_BYTES = 1 << 20;
/** Milliseconds between attempts to connect, because rank 0 may start later. */
const RETRY_MS = 200;
/** Maximum duration of a request in milliseconds. Rank 0 drops a longer one, and the rank tries again. */
export const CONNECTION_MS = 10_000;
/** Number of ranks that a message names. */
const NAMED = 8;

/** This rank, and the rendezvous that it joins. */
interface Meeting {
  rank: number;
  size: number;
  /** The same on all ranks. It may be the same in other runs, if the launcher gives runs no names. */
  key: string;
}

/**
 * Shares rank 0's bytes with all ranks. Rank 0 listens on the port until every rank has confirmed the bytes.
 * @param mine rank 0's bytes
 * @returns rank 0's bytes. On rank 0 the promise resolves when all ranks have confirmed them
 * @throws HeddleError NOT_FOUND if a rank is missing after the time limit, INVALID_ARGUMENT if the port is taken or a rank is of another run, IO
 */
export async function shareByPort(at: StoreAddress, meeting: Meeting, mine: Uint8Array): Promise<Uint8Array> {
  if (meeting.rank > 0) return await askForBytes(at, meeting);
  await serve(at, meeting, mine);
  return mine;
}

const nameOf = ({ address, port }: StoreAddress) => `MASTER_ADDR: rank 0 at ${address}:${port}`;
/** A run as requests and answers describe it. */
const runOf = ({ key, size }: Meeting) => `${encodeURIComponent(key)} ${size}`;

async function serve(at: StoreAddress, meeting: Meeting, mine: Uint8Array): Promise<void> {
  const { size } = meeting;
  await untilAllRanks({ name: "MASTER_PORT", ...at, size }, (socket, confirmed) =>
    answer(socket, meeting, mine, confirmed),
  );
}

/**
 * Listens on a port until every rank but 0 has been confirmed.
 * @param options `name`: the port in messages; `port`: 0 for one that the system chooses
 * @param accept handles a connection, and calls `confirmed` for the rank that it identifies
 * @param listening called with the port
 * @throws HeddleError NOT_FOUND if a rank is missing after the time limit, INVALID_ARGUMENT if the port is taken, IO
 */
export async function untilAllRanks(
  options: { name: string; port: number; size: number; timeoutSeconds: number },
  accept: (socket: Socket, confirmed: (rank: number) => void) => void,
  listening: (port: number) => Promise<unknown> = async () => {},
): Promise<void> {
  const { name, port, size, timeoutSeconds } = options;
  const missing = new Set(Array.from({ length: size - 1 }, (_, i) => i + 1));
  const server = createServer();
  const all = new Promise<void>((resolve) => {
    server.on("connection", (socket) =>
      accept(socket, (rank) => {
        missing.delete(rank);
        if (missing.size === 0) resolve();
      }),
    );
  });
  server.listen(port);
  try {
    await once(server, "listening");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new HeddleError(
      code === "EADDRINUSE" || code === "EACCES" ? "INVALID_ARGUMENT" : "IO",
      `${name}: expected a port on which rank 0 can listen, got ${port} (${code ?? message})`,
      { cause },
    );
  }
  const limit = new AbortController();
  const late = sleep(timeoutSeconds * 1000, true, { signal: limit.signal }).catch(() => false);
  try {
    await listening((server.address() as AddressInfo).port);
    if (!(await Promise.race([all, late]))) return;
    throw new HeddleError(
      "NOT_FOUND",
      `${name}: timed out after ${timeoutSeconds} s, got no request from ${missing.size} of ${size} ranks: ${firstOf([...missing], NAMED)}`,
    );
  } finally {
    limit.abort();
    server.close();
  }
}

/** Answers a rank. @param confirmed called when it has confirmed the bytes */
function answer(socket: Socket, meeting: Meeting, mine: Uint8Array, confirmed: (rank: number) => void): void {
  socket.on("error", () => {}); // the rank tries again
  setTimeout(() => socket.destroy(), CONNECTION_MS).unref();
  let request = "";
  let rank: number | undefined;
  socket.setEncoding("latin1").on("data", (text: string) => {
    request += text;
    if (request.length > MAX_REQUEST) return void socket.destroy();
    if (rank !== undefined) {
      if (!request.endsWith("ok\n")) return;
      confirmed(rank);
      return void socket.end();
    }
    const [, run, of] = /^heddle\/1 (\S* \d{1,9}) (\d{1,9})\n/.exec(request) ?? [];
    // A rank that has the bytes asks to join the watch next, and tries again until the watch starts. Close its connection.
    if (run === undefined) return void (request.includes("\n") && socket.destroy());
    if (run !== runOf(meeting) || Number(of) < 1 || Number(of) >= meeting.size)
      return void socket.end(`other ${runOf(meeting)}\n`);
    rank = Number(of);
    socket.write(Buffer.concat([Buffer.from(`found ${mine.length}\n`), mine]));
  });
}

function askForBytes(at: StoreAddress, meeting: Meeting): Promise<Uint8Array> {
  return askRankZero(at, async (socket) => {
    socket.write(`heddle/1 ${runOf(meeting)} ${meeting.rank}\n`);
    const found = await readAnswer(at, meeting, socket);
    socket.end("ok\n");
    await once(socket, "close"); // rank 0 closes when it has read the confirmation
    return found;
  });
}

/**
 * Connects to rank 0 and calls `ask`. Tries again if either fails, because rank 0 may start later, or another program may answer.
 * @param ask reads what rank 0 answers; the connection stays open if it resolves
 * @throws HeddleError NOT_FOUND after the time limit; a HeddleError of `ask` at once
 */
export async function askRankZero<T>(at: StoreAddress, ask: (socket: Socket) => Promise<T>): Promise<T> {
  const end = performance.now() + at.timeoutSeconds * 1000;
  for (let why = "no answer"; ; await sleep(RETRY_MS)) {
    const left = end - performance.now();
    if (left <= 0)
      throw new HeddleError("NOT_FOUND", `${nameOf(at)}: timed out after ${at.timeoutSeconds} s, got ${why}`);
    const socket = connect(at.port, at.address);
    const timer = setTimeout(() => socket.destroy(new Error("no answer")), Math.min(left, CONNECTION_MS));
    try {
      await once(socket, "connect");
      return await ask(socket);
    } catch (error) {
      socket.destroy();
      if (error instanceof HeddleError) throw error;
      const { code, message } = error as NodeJS.ErrnoException;
      why = code ?? message;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Reads rank 0's bytes. @throws Error if the answer is not rank 0's, HeddleError INVALID_ARGUMENT if it is of another run */
async function readAnswer(at: StoreAddress, meeting: Meeting, socket: Socket): Promise<Uint8Array> {
  let bytes = Buffer.alloc(0);
  for await (const part of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, part]);
    if (bytes.length > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes`);
    const end = bytes.indexOf(10);
    if (end < 0) continue;
    const head = bytes.toString("latin1", 0, end);
    const [, length] = /^found (\d{1,9})$/.exec(head) ?? [];
    if (length !== undefined && bytes.length >= end + 1 + Number(length))
      return new Uint8Array(bytes.subarray(end + 1, end + 1 + Number(length)));
    const [, key, size] = /^other (\S*) (\d+)$/.exec(head) ?? [];
    if (size !== undefined)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${nameOf(at)}: expected the run ${meeting.key} with rank ${meeting.rank} of ${meeting.size}, got ${decodeURIComponent(key!)} with ${size} ranks; give each run its own MASTER_PORT`,
      );
    if (length === undefined) throw new Error("an answer of another program");
  }
  throw new Error(bytes.length === 0 ? "a closed connection" : "an incomplete answer");
}
