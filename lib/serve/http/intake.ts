// Limits the memory of incoming request bodies by pausing some of them.
import type { IncomingMessage } from "node:http";

/** Number of oldest bodies that are never paused. */
const NEVER_HELD = 8;
/** Milliseconds after which a paused body resumes even if no other has ended, because the others may have stalled. */
const HOLD_MS = 250;

/** A body that is still being received. */
interface Arriving {
  /** Counts received bytes. @returns whether there is room for them */
  add(bytes: number): boolean;
  end(): void;
}

/**
 * Counts the bytes of all incomplete bodies. When half of the room is used, only the oldest few continue, and the others pause until one
 * ends. Many large concurrent bodies are then received one after another instead of being refused.
 */
export class Intake {
  private readonly room: number;
  private readonly bodies = new Set<IncomingMessage>();
  private readonly heldUp = new Map<IncomingMessage, NodeJS.Timeout>();
  private bytes = 0;

  constructor(room: number) {
    this.room = room;
  }

  begin(request: IncomingMessage): Arriving {
    this.bodies.add(request);
    let own = 0;
    return {
      add: (bytes) => {
        own += bytes;
        this.bytes += bytes;
        if (this.bytes > this.room) return false;
        if (this.bytes > this.room / 2 && !this.isOld(request)) this.hold(request);
        return true;
      },
      end: () => {
        this.bytes -= own;
        own = 0;
        this.bodies.delete(request);
        this.release(request);
        for (const held of [...this.heldUp.keys()]) this.release(held);
      },
    };
  }

  /** Whether a body is one of the NEVER_HELD oldest. A Set iterates in the order of insertion. */
  private isOld(request: IncomingMessage): boolean {
    let place = 0;
    for (const body of this.bodies) {
      if (body === request) return true;
      if (++place === NEVER_HELD) return false;
    }
    return false;
  }

  private hold(request: IncomingMessage): void {
    if (this.heldUp.has(request)) return;
    request.pause();
    this.heldUp.set(
      request,
      setTimeout(() => this.release(request), HOLD_MS),
    );
  }

  private release(request: IncomingMessage): void {
    const timer = this.heldUp.get(request);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.heldUp.delete(request);
    request.resume();
  }
}
