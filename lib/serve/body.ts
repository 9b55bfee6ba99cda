// Bodies of requests: JSON, of bounded size, depth and time.
import type { IncomingMessage } from "node:http";
import { Refusal, unavailable } from "./refusal.ts";

const MOST_DEPTH = 64;
/** Of a refused body, so many bytes are still taken and thrown away, so that the client reads the refusal before its connection ends. */
const MOST_DISCARDED = 16 << 20;

export interface BodyLimits {
  maxBodyBytes: number;
  /** Milliseconds. */
  bodyTimeout: number;
}

/** Bodies of all requests together, in so many times the most of one. */
const MOST_AT_ONCE = 16;

/** Reads the bodies of a handler's requests. */
export class BodyReader {
  private readonly limits: BodyLimits;
  /** Bytes of bodies that have not ended yet. */
  private held = 0;

  constructor(limits: BodyLimits) {
    this.limits = limits;
  }

  /** A request's JSON object. @throws Refusal 400, 408, 413, 415, 503; the signal's reason */
  async read(request: IncomingMessage, signal: AbortSignal): Promise<Record<string, unknown>> {
    checkType(request);
    const value = jsonOf(bodyBefore(request) ?? (await this.bytesOf(request, signal)));
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new Refusal(400, "body: expected a JSON object, got another value", { code: "invalid_json" });
    return value as Record<string, unknown>;
  }

  private bytesOf(request: IncomingMessage, signal: AbortSignal): Promise<Buffer> {
    const { maxBodyBytes, bodyTimeout } = this.limits;
    const tooLarge = () =>
      new Refusal(413, `body: expected at most ${maxBodyBytes} bytes, got more`, { code: "request_too_large" });
    if (Number(request.headers["content-length"] ?? 0) > maxBodyBytes) return Promise.reject(tooLarge());
    if (request.readableEnded)
      return Promise.reject(new Refusal(400, "body: expected one that nothing has read before, got a read one"));
    return new Promise((resolve, reject) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      const settle = (act: () => void) => {
        this.held -= bytes;
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        request.off("data", onData).off("end", onEnd).off("close", onClose).off("error", onClose);
        act();
      };
      const onData = (part: Buffer) => {
        bytes += part.length;
        this.held += part.length;
        parts.push(part);
        if (bytes > maxBodyBytes) settle(() => reject(tooLarge()));
        else if (this.held > MOST_AT_ONCE * maxBodyBytes)
          settle(() => reject(unavailable("server: too many requests are under way: ask again later")));
      };
      const onEnd = () => settle(() => resolve(Buffer.concat(parts)));
      const onClose = () => settle(() => reject(new Refusal(400, "body: expected all of it, got a part")));
      const onAbort = () => settle(() => reject(signal.reason));
      const late = () =>
        new Refusal(408, `body: expected it within ${bodyTimeout} ms, got a part`, {
          code: "timeout",
          headers: { connection: "close" },
        });
      const timer = setTimeout(() => settle(() => reject(late())), bodyTimeout);
      signal.addEventListener("abort", onAbort, { once: true });
      request.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onClose);
    });
  }
}

/** What a parser before the handler, such as express.json(), has made of the body; undefined where nothing has read it. */
function bodyBefore(request: IncomingMessage): unknown {
  return request.readableEnded ? (request as { body?: unknown }).body : undefined;
}

/** @throws Refusal for what is no JSON, or lies too deep */
function jsonOf(body: unknown): unknown {
  if (typeof body !== "string" && !Buffer.isBuffer(body)) {
    checkNesting(body, MOST_DEPTH);
    return body;
  }
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  checkDepth(bytes);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Refusal(400, "body: expected JSON in UTF-8, got something else", { code: "invalid_json" });
  }
}

function checkType({ headers }: IncomingMessage): void {
  const [type = "", ...parameters] = (headers["content-type"] ?? "")
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  // A form of another site cannot send this type without a browser asking first.
  if (type !== "application/json")
    throw new Refusal(415, "content-type: expected application/json, got another", { code: "unsupported_media_type" });
  const charset = parameters
    .find((parameter) => parameter.startsWith("charset="))
    ?.slice(8)
    .replaceAll('"', "");
  if (charset !== undefined && charset !== "utf-8" && charset !== "utf8")
    throw new Refusal(415, "content-type: expected UTF-8, got another charset", { code: "unsupported_media_type" });
  if ((headers["content-encoding"] ?? "identity").toLowerCase() !== "identity")
    throw new Refusal(415, "content-encoding: expected none, got one", { code: "unsupported_media_type" });
}

/** Takes what is left of a refused request's body, up to a limit, and then ends its connection. */
export function discardBody(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let bytes = 0;
  request.on("data", (part: Buffer) => {
    bytes += part.length;
    if (bytes > MOST_DISCARDED) request.destroy();
  });
  request.resume();
}

const tooDeep = () =>
  new Refusal(400, `body: expected JSON at most ${MOST_DEPTH} deep, got deeper`, { code: "invalid_json" });

function checkNesting(value: unknown, levels: number): void {
  if (typeof value !== "object" || value === null) return;
  if (levels === 0) throw tooDeep();
  for (const member of Object.values(value)) checkNesting(member, levels - 1);
}

/** @throws Refusal where objects and arrays lie deeper in each other than any request needs, before anything walks them */
function checkDepth(bytes: Buffer): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (inString) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > MOST_DEPTH) throw tooDeep();
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
}
