// Requests to the Hub, with limits for time, redirects and the size of answers. The token is sent only to the Hub itself.
import { onAbort } from "../core/abort-listeners.ts";
import { describe, HeddleError, throwIfAborted } from "../core/errors.ts";
import { raceAbort } from "../core/race-abort.ts";
import { withTimeLimit } from "../core/time-limit.ts";
import { DEFAULT_REVISION, type ModelName } from "./model-name.ts";

const MAX_REDIRECTS = 8;
const MAX_JSON_BYTES = 64 * 1024 * 1024;
/** Time limit of a complete JSON answer, as a multiple of `timeout`. */
const JSON_TIMEOUTS = 4;
/** HTTP statuses after which a retry of the same request may succeed. */
const TEMPORARY = new Set([408, 425, 429, 500, 502, 503, 504]);

/** A failure after which a retry may succeed: a lost connection, a timeout, or a busy server. */
export class Interruption extends Error {
  /** Milliseconds that the server asks to wait. */
  readonly wait: number | undefined;
  constructor(message: string, options: { cause?: unknown; wait?: number | undefined } = {}) {
    super(message, { cause: options.cause });
    this.wait = options.wait;
  }
}

/** Returns the error for an answer that breaks the protocol. */
export function badAnswer(endpoint: string, expected: string, got?: unknown): HeddleError {
  return new HeddleError(
    "INVALID_FILE",
    `${endpoint}: expected ${expected}${got === undefined ? "" : `, got ${describe(got)}`}`,
    got instanceof Error ? { cause: got } : {},
  );
}

interface RequestOptions {
  name: ModelName;
  endpoint: string;
  token: string | undefined;
  /** Milliseconds to wait for the beginning of an answer, and for each next chunk of it. */
  timeout: number;
  signal: AbortSignal | undefined;
}

/** The requests of one pull. */
export class HubRequests {
  readonly endpoint: string;
  readonly timeout: number;
  private readonly options: RequestOptions;

  constructor(options: RequestOptions) {
    this.endpoint = options.endpoint;
    this.timeout = options.timeout;
    this.options = options;
  }

  /** Returns an object for the same server, model and token with another signal. */
  until(signal: AbortSignal): HubRequests {
    return new HubRequests({ ...this.options, signal });
  }

  /** A `fetch` for JSON answers. It limits their size, and retries after an Interruption. */
  readonly json: typeof fetch = async (input) => {
    const url = String(input);
    // Check the URL, because the server chooses the URL of the next page of a list.
    if (!isBelow(url, this.endpoint))
      throw badAnswer(this.endpoint, "a next page of the list below this address", shownText(url, this.endpoint));
    return retried(this.options.signal, async () => {
      const started = performance.now();
      const answer = await this.open(url, {});
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      for await (const chunk of this.chunks(answer)) {
        bytes += chunk.length;
        if (bytes > MAX_JSON_BYTES) throw badAnswer(this.endpoint, `at most ${MAX_JSON_BYTES} bytes of JSON`);
        if (performance.now() - started > JSON_TIMEOUTS * this.timeout) throw this.tooSlow(url, bytes);
        chunks.push(chunk);
      }
      return new Response(Buffer.concat(chunks), { status: 200, headers: answer.headers });
    });
  };

  /** Returns the error for an answer that arrives too slowly. */
  private tooSlow(url: string, bytes: number): HeddleError {
    const seconds = (JSON_TIMEOUTS * this.timeout) / 1000;
    const message = `${shown(new URL(url))}: expected a whole answer within ${seconds} s, got ${bytes} bytes`;
    return new HeddleError("IO", message, { cause: Object.assign(new Error(message), { code: "ETIMEDOUT" }) });
  }

  /**
   * Opens a URL and follows redirects. @returns the answer, whose status is below 300, or 304
   * @throws HeddleError, or Interruption if another try may succeed
   */
  async open(first: string, headers: Readonly<Record<string, string>>): Promise<Response> {
    let url = new URL(first);
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const answer = await this.send(url, headers);
      if (answer.status < 300 || answer.status === 304) return answer;
      if (answer.status >= 400) throw await this.refusal(answer, url);
      await discard(answer);
      const target = answer.headers.get("location");
      if (target === null) throw badAnswer(this.endpoint, "a redirect with a Location header");
      const next = parsed(target, url);
      if (!next || (next.protocol !== "https:" && !(next.protocol === "http:" && url.protocol === "http:")))
        throw badAnswer(this.endpoint, "a redirect to https", shownText(target, url));
      // fetch rejects such URLs, with a message that contains the password and the query.
      if (next.username !== "" || next.password !== "")
        throw badAnswer(this.endpoint, "a redirect to a URL without a name and password", shown(next));
      url = next;
    }
    throw badAnswer(this.endpoint, `at most ${MAX_REDIRECTS} redirects`);
  }

  private async send(url: URL, headers: Readonly<Record<string, string>>): Promise<Response> {
    const { token, signal } = this.options;
    // One controller serves both the signal and the timeout, because Node may garbage-collect the result of AbortSignal.any too early.
    const stop = new AbortController();
    const forget = signal && onAbort(signal, () => stop.abort());
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      stop.abort();
    }, this.timeout);
    try {
      const isOwn = url.origin === new URL(this.endpoint).origin;
      return await fetch(url, {
        redirect: "manual",
        signal: stop.signal,
        headers: {
          "user-agent": "heddle",
          // Request no compression, because sizes and ranges refer to the stored bytes.
          "accept-encoding": "identity",
          ...headers,
          ...(token !== undefined && isOwn && { authorization: `Bearer ${token}` }),
        },
      });
    } catch (error) {
      throwIfAborted(signal, "pull");
      if (isLate) throw new Interruption(`${shown(url)} did not answer for ${this.timeout / 1000} s`);
      throw new Interruption(`${shown(url)} cannot be reached: ${reasonOf(error)}`, { cause: causeOf(error) });
    } finally {
      clearTimeout(timer);
      forget?.();
    }
  }

  /** Yields the bytes of an answer. @throws Interruption after a timeout, or if the connection is lost */
  async *chunks(answer: Response): AsyncGenerator<Uint8Array> {
    const reader = answer.body?.getReader();
    if (!reader) return;
    const { signal } = this.options;
    try {
      for (;;) {
        const { done, value } = await this.nextOf(reader.read());
        if (done) return;
        yield value;
      }
    } catch (error) {
      throwIfAborted(signal, "pull");
      if (error instanceof Interruption || error instanceof HeddleError) throw error;
      throw new Interruption(`the connection was lost: ${reasonOf(error)}`, { cause: causeOf(error) });
    } finally {
      await reader.cancel().catch(() => {});
    }
  }

  private nextOf<T>(read: Promise<T>): Promise<T> {
    const late = () => {
      throw new Interruption(`no bytes received for ${this.timeout / 1000} s`);
    };
    return raceAbort(withTimeLimit(read, this.timeout, late), this.options.signal, "pull");
  }

  /** Returns the error for an answer with an error status. */
  private async refusal(answer: Response, url: URL): Promise<Error> {
    await discard(answer);
    const { status } = answer;
    if (TEMPORARY.has(status)) {
      const seconds = Number(answer.headers.get("retry-after") ?? Number.NaN);
      return new Interruption(`${shown(url)} answered ${status}`, { wait: seconds >= 0 ? 1000 * seconds : undefined });
    }
    const { name, token } = this.options;
    const { repository, revision } = name;
    const code = answer.headers.get("x-error-code");
    const page = `${this.endpoint}/${repository}`;
    if (code === "GatedRepo" || status === 403)
      return new HeddleError(
        "INVALID_ARGUMENT",
        `HF_TOKEN: expected a token that may read ${repository}, got ${token === undefined ? "none" : "a token that may not"}; the model is gated or private (${page} has its terms)`,
      );
    if (code === "RevisionNotFound")
      return new HeddleError(
        "NOT_FOUND",
        `${repository}: ${this.endpoint} has no revision ${revision} of this model${revision === DEFAULT_REVISION ? "" : ` (default: ${DEFAULT_REVISION})`}`,
      );
    if (status === 401 && token !== undefined && code !== "RepoNotFound")
      return new HeddleError(
        "INVALID_ARGUMENT",
        `HF_TOKEN: expected a token that ${this.endpoint} accepts, got a token that it rejects`,
      );
    if (status === 401 || status === 404)
      return new HeddleError(
        "NOT_FOUND",
        `${repository}: ${this.endpoint} has no such model; a private one needs HF_TOKEN${token === undefined ? "" : " of an account that may read it"}`,
      );
    return new HeddleError("IO", `${shown(url)}: expected an answer with status 200, got ${status}`);
  }
}

/** Number of tries without progress before a failure is final. */
const MAX_TRIES = 5;
/** Maximum number of milliseconds between two tries. */
const LONGEST_WAIT = 20_000;

/**
 * Runs `work`, and retries it after an Interruption, with growing pauses.
 * @param progress returns a number that grows while the work advances. If it grew, the count of failed tries starts again
 * @throws HeddleError IO after too many tries without progress; other errors of `work`
 */
export async function retried<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  progress: () => number = () => 0,
): Promise<T> {
  for (let failures = 0; ; ) {
    const before = progress();
    try {
      return await work();
    } catch (error) {
      throwIfAborted(signal, "pull");
      if (!(error instanceof Interruption)) throw error;
      failures = progress() > before ? 1 : failures + 1;
      if (failures === MAX_TRIES)
        throw new HeddleError("IO", `${error.message}; tried ${MAX_TRIES} times`, { cause: final(error) });
      await sleep(Math.min(error.wait ?? 100 * 2 ** failures, LONGEST_WAIT), signal);
    }
  }
}

/** Returns the cause of the final error, which always has a code. By the code, the command line recognizes a network failure and exits with 1. */
function final(error: Interruption): Error {
  const { cause } = error;
  return cause instanceof Error && "code" in cause
    ? cause
    : Object.assign(new Error(error.message), { code: "ETIMEDOUT" });
}

/** Waits for `ms` milliseconds. @throws HeddleError ABORTED if the signal fires meanwhile */
export async function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  throwIfAborted(signal, "pull");
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      forget?.();
      resolve();
    };
    const timer = setTimeout(end, ms);
    const forget = signal && onAbort(signal, end);
  });
  throwIfAborted(signal, "pull");
}

async function discard(answer: Response): Promise<void> {
  await answer.body?.cancel().catch(() => {});
}

function parsed(target: string, base: URL): URL | undefined {
  try {
    return new URL(target, base);
  } catch {
    return undefined;
  }
}

function isBelow(url: string, endpoint: string): boolean {
  return parsed(url, new URL(endpoint))?.href.startsWith(`${endpoint}/`) === true;
}

/** Returns a URL without its query, because the query may contain a signature, and without a name and password. */
function shown(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** Returns a URL that a server sent, as `shown` does. */
function shownText(text: string, base: string | URL): string {
  const url = parsed(text, new URL(base));
  return url ? shown(url) : "an invalid URL";
}

function causeOf(error: unknown): unknown {
  return (error as { cause?: unknown }).cause ?? error;
}

function reasonOf(error: unknown): string {
  const cause = causeOf(error) as { code?: unknown; message?: unknown };
  return String(cause?.code ?? cause?.message ?? error);
}
