// Connects the ranks of a watch. A rank sends `heddle-watch/1 TOKEN RANK` and a line break. Rank 0 answers with `welcome`, and the rank with
// `ok`. The token follows from the bytes that all ranks got from rank 0, so other programs and runs cannot take part.
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { askRankZero, CONNECTION_MS, MAX_REQUEST, untilAllRanks } from "./master-port.ts";
import type { PeerWatch } from "./peer-watch.ts";
import type { StoreAddress } from "./torch-store.ts";

const WELCOME = "welcome\n";
const OK = "ok\n";

/** Where the ranks of a watch meet. */
export interface WatchPlace {
  rank: number;
  size: number;
  /** Rank 0's address, and the port on which it listens until all ranks have connected. */
  at: StoreAddress;
  /**
   * Gives rank 0's port to all ranks. Rank 0 passes the port, which the system has chosen, and the other ranks pass undefined. Default: rank 0
   * listens on the port of `at`, which must be free.
   */
  sharePort?: ((port: number | undefined) => Promise<number>) | undefined;
  /** The same on all ranks, and secret. */
  secret: Uint8Array;
}

/**
 * Connects this rank to rank 0 or, on rank 0, waits for all other ranks. A rank's loss can be detected once it has connected.
 * @throws HeddleError IO if a rank is lost, NOT_FOUND if a rank does not connect in time, INVALID_ARGUMENT if the port is taken
 */
export async function connectWatch(watch: PeerWatch, place: WatchPlace): Promise<void> {
  await watch.orLost(() => (place.rank === 0 ? acceptRanks(watch, place) : joinRankZero(watch, place)));
}

/** Returns what identifies the ranks of a run to each other. */
export function tokenOf(secret: Uint8Array): string {
  return createHash("sha256").update("heddle watch\n").update(secret).digest("hex");
}

async function acceptRanks(watch: PeerWatch, { size, at, sharePort, secret }: WatchPlace): Promise<void> {
  const hello = new RegExp(`^heddle-watch/1 ${tokenOf(secret)} ([0-9]{1,5})\n`);
  const [name, port] = sharePort ? ["world", 0] : ["MASTER_PORT", at.port];
  const listening = async (found: number) => void (await sharePort?.(found));
  await untilAllRanks(
    { name, port, size, timeoutSeconds: at.timeoutSeconds },
    (socket, confirmed) =>
      admit(socket, hello, (rank, rest) => {
        if (rank < 1 || rank >= size) return void socket.destroy();
        watch.add(rank, socket, rest);
        confirmed(rank);
      }),
    listening,
  );
}

/** Reads a request. Drops a connection that sends something else, or that takes too long. */
function admit(socket: Socket, hello: RegExp, admitted: (rank: number, rest: string) => void): void {
  const limit = setTimeout(() => socket.destroy(), CONNECTION_MS).unref();
  let request = "";
  let rank: string | undefined;
  const read = (text: string) => {
    request += text;
    if (rank === undefined) {
      const found = hello.exec(request);
      if (!found) return void ((request.includes("\n") || request.length > MAX_REQUEST) && socket.destroy());
      rank = found[1]!;
      request = request.slice(found[0].length);
      socket.write(WELCOME);
    }
    if (request.length < OK.length) return;
    socket.off("data", read);
    clearTimeout(limit);
    if (request.startsWith(OK)) admitted(Number(rank), request.slice(OK.length));
    else socket.destroy();
  };
  socket.on("error", () => {}); // the rank tries again
  socket.setEncoding("latin1").on("data", read);
}

async function joinRankZero(watch: PeerWatch, { rank, at, sharePort, secret }: WatchPlace): Promise<void> {
  const port = sharePort ? await sharePort(undefined) : at.port;
  await askRankZero({ ...at, port }, (socket) => {
    socket.setEncoding("latin1").write(`heddle-watch/1 ${tokenOf(secret)} ${rank}\n`);
    return new Promise<void>((resolve, reject) => {
      let answer = "";
      const read = (text: string) => {
        answer += text;
        if (!WELCOME.startsWith(answer)) return reject(new Error("an answer of another program"));
        if (answer !== WELCOME) return;
        socket.off("data", read).write(OK);
        watch.add(0, socket);
        resolve();
      };
      socket.on("data", read).on("error", reject);
      socket.on("close", () => reject(new Error("a closed connection")));
    });
  });
}
