import { HeddleError, invalidArgument } from "../core/errors.ts";
import { LanguageModel, rejectUnknownNames } from "../language-model/index.ts";

/** A request that has been answered, or refused. */
export interface RequestRecord {
  method: string;
  /** Without its query. */
  path: string;
  /** 499: the client went away before its answer was complete. */
  status: number;
  /** From the request's headers to the end of its answer. */
  ms: number;
  promptTokens?: number;
  completionTokens?: number;
}

/** Options of a request handler. All are optional. */
export interface HandlerOptions {
  /** Name of the model in requests. Default: the last part of its path, or its card's name. */
  modelName?: string | undefined;
  /** Any of these is to be in `Authorization: Bearer …`; without keys everybody who reaches the server is answered. */
  apiKeys?: readonly string[] | undefined;
  /**
   * Allowed host names (without port) of requests, against DNS rebinding; `*` allows any. Default: those of the loopback interface. For `serve`
   * also the host it listens on and, if that is not the loopback interface, any IP address.
   */
  allowedHosts?: readonly string[] | undefined;
  /** Origins of web pages that may ask, such as `https://app.example`; `*`: any. Default: the server's own alone. */
  allowedOrigins?: readonly string[] | undefined;
  /** Sequences that share the model's runs. Default 8. */
  maxConcurrent?: number | undefined;
  /** Maximum number of waiting sequences. More are refused with 429. Default: 64. */
  maxQueue?: number | undefined;
  /** Answers of one request: `n`, times its prompts. Default 16. */
  maxChoices?: number | undefined;
  /** Tokens of an answer at most, also where a request asks for more. Default: what the context has room for. */
  maxTokens?: number | undefined;
  /** Bytes of a request at most. Default 4 MiB. */
  maxBodyBytes?: number | undefined;
  /** Milliseconds in which a request's body has to be there. Default 30,000. */
  bodyTimeout?: number | undefined;
  /** Milliseconds for which a client may read nothing of an answer that waits for it, before it is ended. Default 30,000. */
  stallTimeout?: number | undefined;
  /** Makes answers' bits independent of other requests. Prompts are then processed more slowly and without a prefix cache. */
  deterministic?: boolean | undefined;
  /** Called for every finished request. */
  onRequest?: ((record: RequestRecord) => void) | undefined;
}

/** Options of `serve`. */
export interface ServeOptions extends HandlerOptions {
  /** Address to listen on. Default 127.0.0.1: this machine alone. */
  host?: string | undefined;
  /** Default 8080; 0 takes a free one. */
  port?: number | undefined;
  /** Listens beyond the loopback interface without any key. */
  allowWithoutKey?: boolean | undefined;
  /** Milliseconds in which a request's headers have to be there. Default 10,000. */
  headersTimeout?: number | undefined;
  /** Connections at most. Default 1024. */
  maxConnections?: number | undefined;
  /** Milliseconds that `close()` waits for running answers before it aborts them. Default: 10,000. */
  closeTimeout?: number | undefined;
}

/** Options with every default filled in. */
export interface HandlerSettings {
  modelName: string;
  apiKeys: readonly string[];
  allowedHosts: readonly string[];
  /** Whether any address in numbers is allowed too: no name server can point one elsewhere. */
  anyAddress: boolean;
  allowedOrigins: readonly string[];
  maxConcurrent: number;
  maxQueue: number;
  maxChoices: number;
  maxTokens: number | undefined;
  maxBodyBytes: number;
  bodyTimeout: number;
  stallTimeout: number;
  deterministic: boolean;
  onRequest: ((record: RequestRecord) => void) | undefined;
}
export interface ListenSettings {
  host: string;
  port: number;
  headersTimeout: number;
  maxConnections: number;
  closeTimeout: number;
}

const HANDLER_NAMES: Record<keyof HandlerOptions, true> = {
  modelName: true,
  apiKeys: true,
  allowedHosts: true,
  allowedOrigins: true,
  maxConcurrent: true,
  maxQueue: true,
  maxChoices: true,
  maxTokens: true,
  maxBodyBytes: true,
  bodyTimeout: true,
  stallTimeout: true,
  deterministic: true,
  onRequest: true,
};
const LISTEN_NAMES: Record<Exclude<keyof ServeOptions, keyof HandlerOptions>, true> = {
  host: true,
  port: true,
  allowWithoutKey: true,
  headersTimeout: true,
  maxConnections: true,
  closeTimeout: true,
};

export const DEFAULT_PORT = 8080;
const LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"];
/** Sequences of one cache: as many as a call of the library has. */
const MOST_CONCURRENT = 32;
const MOST_MS = 2 ** 31 - 1;

function whole(name: string, value: unknown, fallback: number, least: number, most: number): number {
  if (value === undefined) return fallback;
  if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most)
    throw invalidArgument(name, `a whole number of ${least} to ${most}`, value);
  return value as number;
}

function flag(name: string, value: unknown): boolean {
  if (value !== undefined && typeof value !== "boolean") throw invalidArgument(name, "true or false", value);
  return value === true;
}

function texts(name: string, value: unknown, fallback: readonly string[], pattern: RegExp, expected: string): string[] {
  if (value === undefined) return [...fallback];
  if (!Array.isArray(value)) throw invalidArgument(name, "an array of texts", value);
  // The message must not contain the key.
  for (const text of value)
    if (typeof text !== "string" || !pattern.test(text))
      throw new HeddleError("INVALID_ARGUMENT", `${name}: expected ${expected}, got another entry`);
  return [...value];
}

/** @throws HeddleError INVALID_ARGUMENT */
export function handlerSettings(model: LanguageModel, options: HandlerOptions, anyAddress = false): HandlerSettings {
  if (!(model instanceof LanguageModel)) throw invalidArgument("model", "a LanguageModel", model);
  rejectUnknownNames(options, Object.keys(HANDLER_NAMES));
  const { modelName = nameOf(model), onRequest } = options;
  if (typeof modelName !== "string" || !/^[\x21-\x7e]{1,200}$/.test(modelName))
    throw invalidArgument("modelName", "1 to 200 characters of ASCII without spaces", modelName);
  if (onRequest !== undefined && typeof onRequest !== "function")
    throw invalidArgument("onRequest", "a function", onRequest);
  const KEY = "1 to 1024 characters of ASCII without spaces";
  return {
    modelName,
    apiKeys: texts("apiKeys", options.apiKeys, [], /^[\x21-\x7e]{1,1024}$/, KEY),
    allowedHosts: texts(
      "allowedHosts",
      options.allowedHosts,
      LOOPBACK_NAMES,
      /^(\*|[\w.-]+|\[[\da-f:.]+\])$/i,
      "host names without ports",
    ).map((host) => host.toLowerCase()),
    anyAddress,
    allowedOrigins: texts(
      "allowedOrigins",
      options.allowedOrigins,
      [],
      /^(\*|null|[a-z][a-z\d+.-]*:\/\/[^/\s]+)$/i,
      "origins such as https://app.example",
    ).map((origin) => origin.toLowerCase()),
    maxConcurrent: whole("maxConcurrent", options.maxConcurrent, 8, 1, MOST_CONCURRENT),
    maxQueue: whole("maxQueue", options.maxQueue, 64, 0, 100_000),
    maxChoices: whole("maxChoices", options.maxChoices, 16, 1, 1024),
    maxTokens: options.maxTokens === undefined ? undefined : whole("maxTokens", options.maxTokens, 0, 1, 2 ** 31 - 1),
    maxBodyBytes: whole("maxBodyBytes", options.maxBodyBytes, 4 << 20, 1, 256 << 20),
    bodyTimeout: whole("bodyTimeout", options.bodyTimeout, 30_000, 1, MOST_MS),
    stallTimeout: whole("stallTimeout", options.stallTimeout, 30_000, 1, MOST_MS),
    deterministic: flag("deterministic", options.deterministic),
    onRequest,
  };
}

/** @throws HeddleError INVALID_ARGUMENT, also where all the world could ask without a key */
export function serveSettings(
  model: LanguageModel,
  options: ServeOptions,
): { listen: ListenSettings; handler: HandlerSettings } {
  rejectUnknownNames(options, [...Object.keys(HANDLER_NAMES), ...Object.keys(LISTEN_NAMES)]);
  const { host = "127.0.0.1", port, allowWithoutKey, headersTimeout, maxConnections, closeTimeout, ...rest } = options;
  if (typeof host !== "string" || !/^[\w.:-]{1,255}$/.test(host))
    throw invalidArgument("host", "an address or a host name", host);
  const open = !isLoopback(host);
  const named = host.includes(":") ? `[${host.toLowerCase()}]` : host;
  const allowedHosts = rest.allowedHosts ?? [...LOOPBACK_NAMES, named];
  const anyAddress = open && rest.allowedHosts === undefined;
  const handler = handlerSettings(model, { ...rest, allowedHosts }, anyAddress);
  if (open && handler.apiKeys.length === 0 && !flag("allowWithoutKey", allowWithoutKey))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `host: expected the loopback interface (127.0.0.1, ::1, localhost) or an API key, got ${host} without one (allowWithoutKey, or --allow-without-key, answers everybody)`,
    );
  return {
    handler,
    listen: {
      host,
      port: whole("port", port, DEFAULT_PORT, 0, 65_535),
      headersTimeout: whole("headersTimeout", headersTimeout, 10_000, 1, MOST_MS),
      maxConnections: whole("maxConnections", maxConnections, 1024, 1, 1_000_000),
      closeTimeout: whole("closeTimeout", closeTimeout, 10_000, 0, MOST_MS),
    },
  };
}

function isLoopback(host: string): boolean {
  return /^(localhost|::1|127(\.\d{1,3}){3})$/i.test(host);
}

function nameOf(model: LanguageModel): string {
  const last = model.path?.split(/[\\/]/).filter(Boolean).at(-1) ?? "";
  const file = last.replace(/\.gguf$/i, "");
  const name = model.card?.name ?? (file || model.config.modelType);
  return name.replace(/[^\x21-\x7e]+/g, "-").slice(0, 200) || "model";
}
