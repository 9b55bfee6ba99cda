// Errors in the format of OpenAI's API: `{error: {message, type, param, code}}` with a status.
import { describe, HeddleError } from "../core/errors.ts";

/** The body of an error response. */
export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

/** The error for a request that is refused, with its status and response body. */
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

  get body(): ErrorBody {
    const { message, param, code } = this;
    return { error: { message, type: typeOf(this.status), param, code } };
  }
}

interface RefusalDetails {
  /** Name of the invalid parameter. */
  param?: string | null;
  code?: string | null;
  headers?: Readonly<Record<string, string>>;
}

function typeOf(status: number): string {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
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

/** Request parameters by the names of the library's options. */
const PARAMS: Readonly<Record<string, string>> = {
  maxTokens: "max_tokens",
  topK: "top_k",
  topP: "top_p",
  minP: "min_p",
  repetitionPenalty: "repetition_penalty",
  presencePenalty: "presence_penalty",
  frequencyPenalty: "frequency_penalty",
  logitBias: "logit_bias",
  topLogprobs: "top_logprobs",
  variables: "chat_template_kwargs",
  message: "messages",
  messages: "messages",
  responseFormat: "response_format",
  toolChoice: "tool_choice",
  schema: "response_format", // followed by a JSON pointer into the schema
  ...Object.fromEntries(["temperature", "n", "stop", "seed", "tools", "input"].map((name) => [name, name])),
};

/** Converts any error to a refusal. Unknown errors become a generic 500, because they may contain private data. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (!(error instanceof HeddleError)) return new Refusal(500, "server: an internal error", { code: "internal_error" });
  const name = /^[a-z]\w*/i.exec(error.message)?.[0] ?? "";
  const param = Object.hasOwn(PARAMS, name) ? PARAMS[name]! : null;
  const message = param === null ? error.message : `${param}${error.message.slice(name.length)}`;
  switch (error.code) {
    case "CONTEXT_OVERFLOW":
      // The hint in parentheses is for callers of the library, not for requests.
      return new Refusal(400, error.message.replace(/ \([^()]*\)$/, ""), { param, code: "context_length_exceeded" });
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
      return unavailable("server: no memory for the answer now");
    case "NUMERICAL":
      return new Refusal(500, error.message, { code: "numerical" });
    default:
      return new Refusal(500, "server: an internal error", { code: "internal_error" });
  }
}
