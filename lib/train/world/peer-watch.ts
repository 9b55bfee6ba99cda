// Detects ranks that have ended or hang, for worlds without MPI. Every rank keeps a connection with rank 0, which passes on what it learns.
// Both sides send lines:
//   alive                      every second
//   left RANK OPERATIONS       the rank leaves the world, with the number of operations that it has begun
//   lost RANK closed           its connection has closed
//   lost RANK silent SECONDS   it has sent nothing for this long
//   lost RANK early            it has left, and another rank has begun a further operation
//   lost RANK failed           it ends with an error
// Only rank 0 sends lines about other ranks, except `early`.
import type { Socket } from "node:net";
import { HeddleError } from "../../core/errors.ts";

/** Milliseconds between two heartbeats. */
const INTERVAL_MS = 1000;
/** Maximum length of a line. */
const MAX_LINE = 64;

/** How a rank was lost, as in a line. */
type How = "closed" | "early" | "failed" | `silent ${number}`;

/** Another rank that has a connection with this one. */
interface Peer {
  socket: Socket;
  /** When its last bytes arrived. */
  heardAt: number;
  /** The beginning of a line. */
  rest: string;
}

/** This process's rank, the settings of the watch, and what to do when another rank is lost. */
interface PeerWatchOptions {
  rank: number;
  size: number;
  /** A rank that has sent nothing for this long is lost. */
  silenceSeconds: number;
  /** Called once, when a rank is lost. */
  onLost(loss: HeddleError): void;
  /** Called when this rank has left and has no connection any more. */
  onDisconnected?(): void;
}

/** One rank's part of the watch. Its connections and timers do not keep the process alive. */
export class PeerWatch {
  private readonly options: PeerWatchOptions;
  private readonly peers = new Map<number, Peer>();
  /** The ranks that have left, with the number of their operations. */
  private readonly left = new Map<number, number>();
  /** Rejects the pending operations. */
  private readonly pending = new Set<(loss: HeddleError) => void>();
  private operations = 0;
  private loss: HeddleError | undefined;
  /** The line that tells the loss to a rank that connects later. */
  private lostLine: string | undefined;
  private isOpen = true;
  private polledAt = performance.now();
  private readonly timer: NodeJS.Timeout;

  constructor(options: PeerWatchOptions) {
    this.options = options;
    this.timer = setInterval(() => this.poll(), INTERVAL_MS).unref();
  }

  /** Whether a rank is lost, so that operations can no longer complete. */
  get isLost(): boolean {
    return this.loss !== undefined;
  }

  /** Whether this rank has left or failed. */
  get hasLeft(): boolean {
    return !this.isOpen;
  }

  /** Watches a rank. Rank 0 watches all others, which watch rank 0. @param text what the connection has received */
  add(rank: number, socket: Socket, text = ""): void {
    if (this.peers.has(rank) || !this.isOpen) return void socket.destroy();
    const peer = { socket, heardAt: performance.now(), rest: "" };
    this.peers.set(rank, peer);
    socket.setEncoding("latin1").setNoDelay(true).unref();
    socket.on("error", () => {}); // "close" follows
    socket.on("data", (part: string) => this.read(rank, peer, part));
    socket.on("close", () => this.closed(rank));
    if (this.lostLine !== undefined) socket.write(`${this.lostLine}\n`);
    if (text !== "") this.read(rank, peer, text);
    if (socket.destroyed) this.closed(rank);
  }

  /**
   * Runs an operation of all ranks. Every rank calls it for the same operations in the same order.
   * @throws HeddleError IO as soon as a rank is lost, or has left before this operation
   */
  async during<T>(operation: () => Promise<T>): Promise<T> {
    if (!this.isOpen) return operation();
    this.operations += 1;
    this.findEarly(this.operations);
    return this.orLost(operation);
  }

  /** Settles like the result of `work`, or rejects as soon as a rank is lost. */
  orLost<T>(work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.loss) throw this.loss;
      this.pending.add(reject);
      const start = async () => work();
      start()
        .then(resolve, reject)
        .finally(() => this.pending.delete(reject));
    });
  }

  /** Leaves the world. The others no longer watch this rank. If they run an operation that it has not begun, they treat it as lost. */
  leave(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    clearInterval(this.timer);
    this.left.set(this.options.rank, this.operations);
    this.tell(`left ${this.options.rank} ${this.operations}`);
    for (const rank of this.peers.keys()) this.endIfBothLeft(rank);
    if (this.peers.size === 0) this.options.onDisconnected?.();
  }

  /** Tells the others that this rank has failed, even if it has left before. This rank then watches nobody. */
  fail(): void {
    this.tell(`lost ${this.options.rank} failed`);
    this.isOpen = false;
    clearInterval(this.timer);
    for (const { socket } of this.peers.values()) socket.end();
    if (this.peers.size === 0) this.options.onDisconnected?.();
  }

  private tell(line: string, except?: number): void {
    for (const [rank, { socket }] of this.peers) if (rank !== except) socket.write(`${line}\n`);
  }

  private read(rank: number, peer: Peer, part: string): void {
    peer.heardAt = performance.now();
    const lines = (peer.rest + part).split("\n");
    peer.rest = lines.pop()!;
    for (const line of lines) this.hear(rank, line);
    if (peer.rest.length > MAX_LINE) peer.socket.destroy();
  }

  /** Reads a line of rank `from`. Ignores lines that it does not know. */
  private hear(from: number, line: string): void {
    const [, what, of, more] = /^(left|lost) (\d{1,5}) (\d{1,15}|closed|early|failed|silent \d{1,6})$/.exec(line) ?? [];
    if (more === undefined || Number(of) >= this.options.size) return;
    if (from !== 0 && Number(of) !== from && more !== "early") return;
    if (what === "left" && /^\d/.test(more)) this.hearLeft(Number(of), Number(more));
    else if (what === "lost" && !/^\d/.test(more)) this.lose(Number(of), more as How);
  }

  private hearLeft(rank: number, operations: number): void {
    this.left.set(rank, operations);
    if (this.options.rank === 0 && this.isOpen) this.tell(`left ${rank} ${operations}`, rank);
    if (this.pending.size > 0) this.findEarly(this.operations);
    this.endIfBothLeft(rank);
  }

  /** Finds a rank that has left without an operation that this rank has begun. */
  private findEarly(operation: number): void {
    for (const [rank, operations] of this.left) if (operation > operations) this.lose(rank, "early");
  }

  private endIfBothLeft(rank: number): void {
    if (!this.isOpen && this.left.has(rank)) this.peers.get(rank)?.socket.end();
  }

  private closed(rank: number): void {
    if (!this.peers.delete(rank)) return;
    if (!this.left.has(rank)) this.lose(rank, "closed");
    if (!this.isOpen && this.peers.size === 0) this.options.onDisconnected?.();
  }

  private poll(): void {
    const now = performance.now();
    // The process or the event loop has paused, and the others may have paused with it. They get the full time again.
    if (now - this.polledAt > 5 * INTERVAL_MS) for (const peer of this.peers.values()) peer.heardAt = now;
    this.polledAt = now;
    this.tell("alive");
    // Timers run before sockets are read. Lines that arrived during a long task of this process must count.
    setImmediate(() => this.findSilent());
  }

  private findSilent(): void {
    const { silenceSeconds } = this.options;
    const since = performance.now() - silenceSeconds * 1000;
    for (const [rank, { heardAt }] of this.peers)
      if (heardAt < since && !this.left.has(rank)) this.lose(rank, `silent ${Math.round(silenceSeconds)}`);
  }

  private lose(rank: number, how: How): void {
    if (this.loss || !this.isOpen) return;
    this.lostLine = `lost ${rank} ${how}`;
    if (this.options.rank === 0 || how === "early") this.tell(this.lostLine);
    this.loss = lossOf(rank, this.options.size, how);
    for (const reject of this.pending) reject(this.loss);
    this.options.onLost(this.loss);
  }
}

function lossOf(rank: number, size: number, how: How): HeddleError {
  const [code, what] =
    how === "closed"
      ? ["ECONNRESET", "has ended or lost its connection"]
      : how === "failed"
        ? ["ECONNABORTED", "has failed"]
        : how === "early"
          ? ["ECONNABORTED", "has ended before the others"]
          : ["ETIMEDOUT", `has sent no heartbeat for ${how.slice("silent ".length)} s`];
  // The code marks a problem of the machine, not of the caller.
  const cause = Object.assign(new Error(how), { code });
  return new HeddleError("IO", `world: rank ${rank} of ${size} ${what}`, { cause });
}
