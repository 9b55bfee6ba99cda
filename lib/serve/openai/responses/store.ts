// Stored responses of OpenAI's Responses API. They are kept in memory, and the least recently used ones are dropped.
import { createHash } from "node:crypto";
import type { Exchange, Service } from "../../core/context.ts";
import { givenKey } from "../../http/security.ts";
import type { Item } from "./items.ts";

/** A stored response. Items that several responses share are the same objects. */
export interface StoredResponse {
  /** The response without its output. */
  body: Readonly<Record<string, unknown>> & { id: string };
  /** The conversation before the output, from its beginning. */
  input: readonly Item[];
  output: readonly Item[];
}

interface Entry extends StoredResponse {
  bytes: number;
}

/** Limits of all stored responses together. */
interface StoreLimits {
  responses: number;
  bytes: number;
}

/** The responses of one owner. */
interface Share {
  /** In order of use, the least recent first. */
  entries: Map<string, Entry>;
  bytes: number;
}

/** Number of bytes that each value counts as, in addition to its characters. A reference to a shared item counts as much. */
const OBJECT_BYTES = 64;

/**
 * Responses by owner and id. An owner cannot see the responses of others. Beyond the limits, the owner with the most responses or bytes loses
 * its least recently used one. An owner with many responses therefore cannot displace those of an owner with few.
 */
export class ResponseStore {
  private readonly limits: StoreLimits;
  private readonly shares = new Map<string, Share>();
  /** Items by owner and id. Several may have the same id, because clients send earlier items again. */
  private readonly items = new Map<string, Set<Item>>();
  /** Number of stored responses that contain an item, and the size of the item. */
  private readonly uses = new Map<Item, { count: number; bytes: number }>();

  constructor(limits: StoreLimits = { responses: 1000, bytes: 64 << 20 }) {
    this.limits = limits;
  }

  /** Current number of responses, and an upper bound of their memory. */
  get size(): StoreLimits {
    const size = { responses: 0, bytes: 0 };
    for (const { entries, bytes } of this.shares.values()) {
      size.responses += entries.size;
      size.bytes += bytes;
    }
    return size;
  }

  /** Stores a response, and drops others to stay within the limits. A response that exceeds them alone is not stored. */
  add(owner: string, response: StoredResponse): void {
    const all = itemsOf(response);
    const most = this.limits.bytes;
    const bytes = all.length * OBJECT_BYTES + sizeOf(response.body, most);
    const sizes = new Map<Item, number>();
    let total = bytes;
    for (const item of all) {
      if (total > most) return;
      if (sizes.has(item)) continue;
      const size = this.uses.get(item)?.bytes ?? sizeOf(item, most - total);
      sizes.set(item, size);
      total += size;
    }
    if (total > most) return;
    const share = this.shares.get(owner) ?? { entries: new Map<string, Entry>(), bytes: 0 };
    this.shares.set(owner, share);
    share.entries.set(response.body.id, { ...response, bytes });
    share.bytes += bytes;
    for (const item of all) this.use(owner, share, item, sizes.get(item)!);
    this.shrink();
  }

  /** Returns a response, which then counts as the most recently used. */
  get(owner: string, id: string): StoredResponse | undefined {
    const entries = this.shares.get(owner)?.entries;
    const entry = entries?.get(id);
    if (!entry) return undefined;
    entries!.delete(id);
    entries!.set(id, entry);
    return entry;
  }

  /** Returns an item of a stored response. */
  item(owner: string, id: string): Item | undefined {
    return this.items.get(keyOf(owner, id))?.values().next().value;
  }

  /** Deletes a response. @returns whether it was stored */
  delete(owner: string, id: string): boolean {
    const entry = this.shares.get(owner)?.entries.get(id);
    if (entry) this.remove(owner, entry);
    return entry !== undefined;
  }

  private shrink(): void {
    for (
      let size = this.size;
      size.responses > this.limits.responses || size.bytes > this.limits.bytes;
      size = this.size
    ) {
      const held = ({ entries, bytes }: Share) => (size.responses > this.limits.responses ? entries.size : bytes);
      const [owner, { entries }] = [...this.shares].reduce((most, one) => (held(one[1]) > held(most[1]) ? one : most));
      this.remove(owner, entries.values().next().value!);
    }
  }

  private use(owner: string, share: Share, item: Item, bytes: number): void {
    const used = this.uses.get(item);
    if (used) {
      used.count++;
      return;
    }
    this.uses.set(item, { count: 1, bytes });
    share.bytes += bytes;
    const key = keyOf(owner, item.id);
    const alike = this.items.get(key) ?? new Set();
    this.items.set(key, alike.add(item));
  }

  private remove(owner: string, entry: Entry): void {
    const share = this.shares.get(owner)!;
    share.entries.delete(entry.body.id);
    share.bytes -= entry.bytes;
    for (const item of itemsOf(entry)) {
      const used = this.uses.get(item)!;
      if (--used.count > 0) continue;
      this.uses.delete(item);
      share.bytes -= used.bytes;
      const key = keyOf(owner, item.id);
      const alike = this.items.get(key)!;
      alike.delete(item);
      if (alike.size === 0) this.items.delete(key);
    }
    if (share.entries.size === 0) this.shares.delete(owner);
  }
}

const keyOf = (owner: string, id: string) => `${owner}/${id}`;
const itemsOf = ({ input, output }: StoredResponse) => [...input, ...output];

/**
 * Returns an upper bound of the bytes of plain data in memory. Stops beyond `most`, and then returns a number above
 * `most`.
 */
function sizeOf(data: unknown, most: number): number {
  let bytes = 0;
  const add = (value: unknown): void => {
    bytes += OBJECT_BYTES;
    if (typeof value === "string") bytes += 2 * value.length;
    else if (Array.isArray(value)) {
      if (bytes + value.length * OBJECT_BYTES > most) bytes = most + 1;
      for (let i = 0; i < value.length && bytes <= most; i++) add(value[i]);
    } else if (typeof value === "object" && value !== null)
      for (const name in value) {
        bytes += 2 * name.length;
        if (bytes > most) return;
        add((value as Record<string, unknown>)[name]);
      }
  };
  add(data);
  return bytes;
}

const stores = new WeakMap<Service, ResponseStore>();

/** Returns the store of a handler. */
export function storeOf({ service }: Exchange): ResponseStore {
  let store = stores.get(service);
  if (!store) {
    store = new ResponseStore();
    stores.set(service, store);
  }
  return store;
}

/** Returns the owner of a request's responses: a hash of the request's API key. */
export function ownerOf({ headers }: Exchange): string {
  return createHash("sha256")
    .update(givenKey(headers) ?? "")
    .digest("hex");
}
