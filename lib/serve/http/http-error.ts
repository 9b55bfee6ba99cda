// Errors of requests, with the status of their response. Each dialect writes them in its own form.
import { describe, HeddleError } from "../../core/errors.ts";

/** The error for a request that is refused. */
export class Refusal extends Error {
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, { param = null, code = null, headers = {} }: RefusalDetails = {}) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
    this.headers = headers;
  }
}

interface RefusalDetails {
  /** Name of the invalid parameter. */
  param?: string | null;
  code?: string | null;
  headers?: Readonly<Record<string, string>>;
}

/** Returns a 400 error `param: expected X, got Y`. */
export function invalid(param: string, expected: string, got: unknown): Refusal {
  return new Refusal(400, `${param}: expected ${expected}, got ${describe(got)}`, { param, code: "invalid_value" });
}

/** Returns a 400 error for a valid but unsupported parameter. */
export function unsupported(param: string, message: string): Refusal {
  return new Refusal(400, `${param}: ${message}`, { param, code: "unsupported" });
}

/** Returns a 503 error: the server is shutting down or out of memory, and the same request may succeed later. */
export function unavailable(message: string): Refusal {
  return new Refusal(503, message, { code: "unavailable", headers: { "retry-after": "1" } });
}

/** Returns a 503 error without retry-after, because a lost device stays lost until the server is restarted. */
export function deviceLost(): Refusal {
  return new Refusal(503, "server: its GPU has failed", { code: "device_lost" });
}

/**
 * Converts any error to a refusal. Unknown errors become a generic 500, because they may contain private data.
 * @param names maps the library's option names to request parameters
 */
export function refusalOf(error: unknown, names: Readonly<Record<string, string>>): Refusal {
  if (error instanceof Refusal) return error;
  if (!(error instanceof HeddleError)) return new Refusal(500, "server: an internal error", { code: "internal_error" });
  const name = /^[a-z]\w*/i.exec(error.message)?.[0] ?? "";
  const param = Object.hasOwn(names, name) ? names[name]! : null;
  const message = param === null ? error.message : `${param}${error.message.slice(name.length)}`;
  switch (error.code) {
    case "CONTEXT_OVERFLOW":
      // The hint in parentheses is for callers of the library, not for requests.
      return new Refusal(400, message.replace(/ \([^()]*\)$/, ""), { param, code: "context_length_exceeded" });
    case "INVALID_ARGUMENT":
    case "SHAPE_MISMATCH":
      return new Refusal(400, message, { param, code: "invalid_value" });
    case "UNSUPPORTED":
      return new Refusal(400, message, { param, code: "unsupported" });
    case "NOT_FOUND":
      return new Refusal(404, message, { param, code: "not_found" });
    case "ABORTED":
    case "DISPOSED":
      return unavailable("server: the answer was ended");
    case "OUT_OF_MEMORY":
      return unavailable("server: out of memory: try again later");
    case "DEVICE_LOST":
      return deviceLost();
    case "NUMERICAL":
      return new Refusal(500, error.message, { code: "numerical" });
    default:
      return new Refusal(500, "server: an internal error", { code: "internal_error" });
  }
}
