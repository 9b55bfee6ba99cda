// Bodies on their way in: how much of them memory holds, and which of them waits for the others.
import type { IncomingMessage } from "node:http";

/** The oldest bodies are never held up. */
const NEVER_HELD = 8;
/** A body that is held up goes on after so many milliseconds, even if no other has ended: the others may have stopped. */
const HOLD_MS = 250;

/** A body that has not ended. */
export interface Arriving {
  /** Counts bytes that have come. @returns whether there is room for them */
  add(bytes: number): boolean;
  end(): void;
}

/**
 * Counts the bytes of all bodies that have not ended. When half of the room is taken, the oldest few go on and the others are held up until one
 * ends: many large bodies at once then arrive after one another, and none of them is refused.
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
