// Reads bodies of requests: JSON with limits on size, depth and time.
import type { IncomingMessage } from "node:http";
import { onAbort } from "../../core/abort-listeners.ts";
import { isObject } from "../../core/is-object.ts";
import { atOnce } from "../../core/slices.ts";
import { JSON_LIMITS, JsonLimitError, parseInSlices } from "../../io/json-slices.ts";
import { Refusal, unavailable } from "./http-error.ts";
import { Intake } from "./intake.ts";
import { inTurn, type Semaphore } from "./semaphore.ts";

/**
 * Maximum bytes of a refused request's body that are read and discarded, so that the client reads the refusal before the connection
 * closes.
 */
const MAX_DISCARDED = 16 << 20;

/** Limits on request bodies. */
interface BodyLimits {
  maxBodyBytes: number;
  /** Maximum time to receive a body, in milliseconds. */
  bodyTimeout: number;
}

/** Maximum memory of incomplete bodies, in multiples of the largest allowed body. */
const MAX_AT_ONCE = 16;
/** Maximum memory of bodies that wait to be parsed, in the same unit. */
const MAX_WAITING = 32;
/** Maximum size in bytes of a body that is parsed synchronously. */
const SHORT_BODY = 16 << 10;

/** Reads the bodies of a handler's requests. Long ones are parsed one after another, in slices. */
export class BodyReader {
  private readonly limits: BodyLimits;
  private readonly intake: Intake;
  private readonly parsing: Semaphore;
  /** Total bytes of the bodies that wait to be parsed. */
  private waiting = 0;

  /** @param parsing schedules parsing and other long work on parsed bodies, one at a time */
  constructor(limits: BodyLimits, parsing: Semaphore) {
    this.limits = limits;
    this.intake = new Intake(MAX_AT_ONCE * limits.maxBodyBytes);
    this.parsing = parsing;
  }

  /** Reads the JSON object in a request's body. @throws Refusal 400, 408, 413, 415, 503; the signal's reason */
  async read(request: IncomingMessage, signal: AbortSignal): Promise<Record<string, unknown>> {
    signal.throwIfAborted(); // an aborted request emits no further events
    checkType(request);
    const given = bodyBefore(request);
    const isParsed = given !== undefined && typeof given !== "string" && !Buffer.isBuffer(given);
    if (isParsed) checkNesting(given, JSON_LIMITS.depth);
    const value = isParsed ? given : await this.parsed(given ?? (await this.partsOf(request, signal)), signal);
    if (!isObject(value))
      throw new Refusal(400, "body: expected a JSON object, got another value", { code: "invalid_json" });
    return value;
  }

  private async parsed(body: string | Buffer | readonly Buffer[], signal: AbortSignal): Promise<unknown> {
    const parts = typeof body === "string" ? [Buffer.from(body)] : Buffer.isBuffer(body) ? [body] : body;
    const bytes = parts.reduce((sum, { length }) => sum + length, 0);
    const parsing = () => parseInSlices(parts.length === 1 ? parts[0]! : Buffer.concat(parts), JSON_LIMITS);
    try {
      if (bytes <= SHORT_BODY) return atOnce(parsing());
      if (this.waiting + bytes > MAX_WAITING * this.limits.maxBodyBytes) throw tooBusy();
      this.waiting += bytes;
      try {
        return await inTurn(this.parsing, parsing, signal);
      } finally {
        this.waiting -= bytes;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof SyntaxError || error instanceof TypeError || error instanceof JsonLimitError
        ? notJson(error)
        : error;
    }
  }

  private partsOf(request: IncomingMessage, signal: AbortSignal): Promise<Buffer[]> {
    const { maxBodyBytes, bodyTimeout } = this.limits;
    const tooLarge = () =>
      new Refusal(413, `body: expected at most ${maxBodyBytes} bytes, got more`, { code: "request_too_large" });
    if (Number(request.headers["content-length"] ?? 0) > maxBodyBytes) return Promise.reject(tooLarge());
    if (request.readableEnded) return Promise.reject(new Refusal(400, "body: has already been read"));
    return new Promise((resolve, reject) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      const body = this.intake.begin(request);
      const settle = (act: () => void) => {
        body.end();
        clearTimeout(timer);
        forget();
        request.off("data", onData).off("end", onEnd).off("close", onClose).off("error", onClose);
        act();
      };
      const onData = (part: Buffer) => {
        bytes += part.length;
        parts.push(part);
        if (bytes > maxBodyBytes) settle(() => reject(tooLarge()));
        else if (!body.add(part.length)) settle(() => reject(tooBusy()));
      };
      const onEnd = () => settle(() => resolve(parts));
      const onClose = () =>
        settle(() => reject(new Refusal(400, "body: the connection closed before the end of the body")));
      const late = () =>
        new Refusal(408, `body: expected the whole body within ${bodyTimeout} ms, got a part`, {
          code: "timeout",
          headers: { connection: "close" },
        });
      const timer = setTimeout(() => settle(() => reject(late())), bodyTimeout);
      const forget = onAbort(signal, () => settle(() => reject(signal.reason)));
      request.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onClose);
    });
  }
}

const tooBusy = () => unavailable("server: too many requests in progress: try again later");

function notJson(error: Error): Refusal {
  const { depth, values, strings, keys } = JSON_LIMITS;
  const limit = error instanceof JsonLimitError ? error.limit : undefined;
  const message = {
    depth: `body: expected JSON at most ${depth} deep, got deeper`,
    values: `body: expected at most ${values} objects, arrays and keys, got more`,
    strings: `body: expected at most ${strings} strings, got more`,
    keys: `body: expected at most ${keys} keys in an object, got more`,
    none: "body: expected JSON in UTF-8, got something else",
  }[limit ?? "none"];
  return new Refusal(400, message, { code: "invalid_json" });
}

/** Returns the body that an earlier parser such as express.json() has read; undefined if none has. */
function bodyBefore(request: IncomingMessage): unknown {
  return request.readableEnded ? (request as { body?: unknown }).body : undefined;
}

function checkType({ headers }: IncomingMessage): void {
  const [type = "", ...parameters] = (headers["content-type"] ?? "")
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  // Requiring this type also protects from cross-site forms, which cannot send it without a CORS preflight.
  if (type !== "application/json")
    throw new Refusal(415, "content-type: expected application/json, got another", { code: "unsupported_media_type" });
  const charset = parameters
    .find((parameter) => parameter.startsWith("charset="))
    ?.slice(8)
    .replaceAll('"', "");
  if (charset !== undefined && charset !== "utf-8" && charset !== "utf8")
    throw new Refusal(415, "content-type: expected UTF-8, got another charset", { code: "unsupported_media_type" });
  if ((headers["content-encoding"] ?? "identity").toLowerCase() !== "identity")
    throw new Refusal(415, "content-encoding: expected an uncompressed body, got an encoded one", {
      code: "unsupported_media_type",
    });
}

/** Reads and discards the rest of a refused request's body. Beyond a limit it closes the connection. */
export function discardBody(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let bytes = 0;
  request.on("data", (part: Buffer) => {
    bytes += part.length;
    if (bytes > MAX_DISCARDED) request.destroy();
  });
  request.resume();
}

function checkNesting(value: unknown, levels: number): void {
  if (typeof value !== "object" || value === null) return;
  if (levels === 0) throw notJson(new JsonLimitError("depth"));
  for (const member of Object.values(value)) checkNesting(member, levels - 1);
}
