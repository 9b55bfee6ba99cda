import { HeddleError, invalidArgument } from "../core/errors.ts";
import { checkFlag, checkFunction, checkWhole } from "../core/option-values.ts";
import { LanguageModel, rejectUnknownNames } from "../language-model/index.ts";
import { type CheckedSource, checkedName, checkedSources, type ModelSource, nameOf } from "./core/model-source.ts";
import type { RequestRecord } from "./core/record.ts";

/** Options of a request handler. All are optional. */
export interface HandlerOptions {
  /** Name of a single model in requests. Default: the name in its model card, else the name it was loaded by, else the last part of its path. */
  modelName?: string | undefined;
  /** Further names of a single model in requests, such as `gpt-4o` for programs that always send that name. */
  aliases?: readonly string[] | undefined;
  /**
   * Maximum size of the weights of all models together, in bytes, without KV caches. If a model does not fit, the least recently used ones
   * that no request uses are unloaded. Default: no limit.
   */
  maxModelMemory?: number | undefined;
  /** API keys. Requests need one of them in `Authorization: Bearer …` or `x-api-key`. Without keys, every request is answered. */
  apiKeys?: readonly string[] | undefined;
  /**
   * Allowed host names (without port) of requests, against DNS rebinding; `*` allows any. Default: those of the loopback interface. For `serve`
   * also the host it listens on and, if that is not the loopback interface, any IP address.
   */
  allowedHosts?: readonly string[] | undefined;
  /** Origins of web pages that may send requests, such as `https://app.example`; `*` allows any. Default: only the server's own. */
  allowedOrigins?: readonly string[] | undefined;
  /** Maximum number of running sequences of a model or an adapter. They share its forward passes. Default 8. */
  maxConcurrent?: number | undefined;
  /** Maximum number of waiting sequences. More are refused with 429. Default: 64. */
  maxQueue?: number | undefined;
  /** Maximum number of answers of one request: `n` times its number of prompts. Default 16. */
  maxChoices?: number | undefined;
  /** Maximum number of tokens of an answer, which requests cannot exceed. Default: the room in the context. */
  maxTokens?: number | undefined;
  /** Maximum size of a request body in bytes. Default 4 MiB. */
  maxBodyBytes?: number | undefined;
  /** Maximum time to receive a request's body, in milliseconds. Default 30,000. */
  bodyTimeout?: number | undefined;
  /** Maximum time for which a client may stop reading an answer before it is ended, in milliseconds. Default 30,000. */
  stallTimeout?: number | undefined;
  /**
   * Whether an answer is bit-identical regardless of concurrent requests. Prompts are then processed more slowly,
   * without a prefix cache.
   */
  deterministic?: boolean | undefined;
  /** Whether `/metrics` is open without an API key. `/health`, `/live` and `/ready` always are. Default false. */
  metricsWithoutKey?: boolean | undefined;
  /** Called for every finished request. */
  onRequest?: ((record: RequestRecord) => void) | undefined;
}

/** Options of `serve`. */
export interface ServeOptions extends HandlerOptions {
  /** Address to listen on. Default 127.0.0.1, which only this machine can reach. */
  host?: string | undefined;
  /** Port to listen on. Default 8080; 0 selects a free one. */
  port?: number | undefined;
  /** Whether to allow listening beyond the loopback interface without an API key. Default false. */
  allowWithoutKey?: boolean | undefined;
  /** Maximum time to receive a request's headers, in milliseconds. Default 10,000. */
  headersTimeout?: number | undefined;
  /** Maximum number of connections. Default 1024. */
  maxConnections?: number | undefined;
  /** Milliseconds that `close()` waits for running answers before it aborts them. Default: 10,000. */
  closeTimeout?: number | undefined;
}

/** Options with every default filled in. */
export interface HandlerSettings {
  models: readonly CheckedSource[];
  maxModelMemory: number | undefined;
  apiKeys: readonly string[];
  allowedHosts: readonly string[];
  /** Whether any numeric IP address is allowed as host name too. DNS rebinding cannot use these. */
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
  metricsWithoutKey: boolean;
  onRequest: ((record: RequestRecord) => void) | undefined;
}

/** Checked options of the listening socket. */
export interface ListenSettings {
  host: string;
  port: number;
  headersTimeout: number;
  maxConnections: number;
  closeTimeout: number;
}

const HANDLER_NAMES: Record<keyof HandlerOptions, true> = {
  modelName: true,
  aliases: true,
  maxModelMemory: true,
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
  metricsWithoutKey: true,
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

/** Default of `port`. */
const DEFAULT_PORT = 8080;
const LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"];
/** Maximum number of sequences of a KV cache. Calls of the library have the same limit. */
const MAX_CONCURRENT = 32;
const MODEL_NAME = /^[\x21-\x7e]{1,200}$/;
/** The longest delay of `setTimeout`. */
const MAX_MS = 2 ** 31 - 1;

function whole(name: string, value: unknown, fallback: number, least: number, most: number): number {
  if (value === undefined) return fallback;
  checkWhole(name, value, least, most);
  return value;
}

function flag(name: string, value: unknown): boolean {
  checkFlag(name, value);
  return value === true;
}

function texts(name: string, value: unknown, fallback: readonly string[], pattern: RegExp, expected: string): string[] {
  if (value === undefined) return [...fallback];
  if (!Array.isArray(value)) throw invalidArgument(name, "an array of texts", value);
  // The message leaves out the entry, because it may be an API key.
  for (const text of value)
    if (typeof text !== "string" || !pattern.test(text))
      throw new HeddleError("INVALID_ARGUMENT", `${name}: expected ${expected}, got another entry`);
  return [...value];
}

/** A loaded model, or a list of models and paths. */
type GivenModels = LanguageModel | readonly ModelSource[];

function sourcesOf(
  models: GivenModels,
  { modelName, aliases }: Pick<HandlerOptions, "modelName" | "aliases">,
): CheckedSource[] {
  if (Array.isArray(models)) {
    for (const [name, value] of Object.entries({ modelName, aliases }))
      if (value !== undefined)
        throw invalidArgument(name, "no value with a list of models, which have their own names", value);
    return checkedSources(models);
  }
  if (!(models instanceof LanguageModel)) throw invalidArgument("model", "a LanguageModel", models);
  return checkedSources([
    {
      model: models,
      name: checkedName("modelName", modelName ?? nameOf(models)),
      aliases: texts("aliases", aliases, [], MODEL_NAME, "1 to 200 characters of ASCII without spaces"),
    },
  ]);
}

/** Returns the checked options with defaults. @throws HeddleError INVALID_ARGUMENT */
export function handlerSettings(models: GivenModels, options: HandlerOptions, anyAddress = false): HandlerSettings {
  rejectUnknownNames(options, Object.keys(HANDLER_NAMES));
  const { modelName, aliases, maxModelMemory, onRequest } = options;
  const sources = sourcesOf(models, { modelName, aliases });
  checkFunction("onRequest", onRequest);
  const KEY = "1 to 1024 characters of ASCII without spaces";
  return {
    models: sources,
    maxModelMemory:
      maxModelMemory === undefined ? undefined : whole("maxModelMemory", maxModelMemory, 0, 1, Number.MAX_SAFE_INTEGER),
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
    maxConcurrent: whole("maxConcurrent", options.maxConcurrent, 8, 1, MAX_CONCURRENT),
    maxQueue: whole("maxQueue", options.maxQueue, 64, 0, 100_000),
    maxChoices: whole("maxChoices", options.maxChoices, 16, 1, 1024),
    maxTokens: options.maxTokens === undefined ? undefined : whole("maxTokens", options.maxTokens, 0, 1, 2 ** 31 - 1),
    maxBodyBytes: whole("maxBodyBytes", options.maxBodyBytes, 4 << 20, 1, 256 << 20),
    bodyTimeout: whole("bodyTimeout", options.bodyTimeout, 30_000, 1, MAX_MS),
    stallTimeout: whole("stallTimeout", options.stallTimeout, 30_000, 1, MAX_MS),
    deterministic: flag("deterministic", options.deterministic),
    metricsWithoutKey: flag("metricsWithoutKey", options.metricsWithoutKey),
    onRequest,
  };
}

/** Returns the checked options with defaults. @throws HeddleError INVALID_ARGUMENT, also for a public address without an API key */
export function serveSettings(
  models: GivenModels,
  options: ServeOptions,
): { listen: ListenSettings; handler: HandlerSettings } {
  rejectUnknownNames(options, [...Object.keys(HANDLER_NAMES), ...Object.keys(LISTEN_NAMES)]);
  const { host = "127.0.0.1", port, allowWithoutKey, headersTimeout, maxConnections, closeTimeout, ...rest } = options;
  if (typeof host !== "string" || !/^[\w.:-]{1,255}$/.test(host))
    throw invalidArgument("host", "an address or a host name", host);
  const isPublic = !isLoopback(host);
  const named = host.includes(":") ? `[${host.toLowerCase()}]` : host;
  const allowedHosts = rest.allowedHosts ?? [...LOOPBACK_NAMES, named];
  const anyAddress = isPublic && rest.allowedHosts === undefined;
  const handler = handlerSettings(models, { ...rest, allowedHosts }, anyAddress);
  if (isPublic && handler.apiKeys.length === 0 && !flag("allowWithoutKey", allowWithoutKey))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `host: expected the loopback interface (127.0.0.1, ::1, localhost) or an API key, got ${host} without one (allowWithoutKey, or --allow-without-key, answers everybody)`,
    );
  return {
    handler,
    listen: {
      host,
      port: whole("port", port, DEFAULT_PORT, 0, 65_535),
      headersTimeout: whole("headersTimeout", headersTimeout, 10_000, 1, MAX_MS),
      maxConnections: whole("maxConnections", maxConnections, 1024, 1, 1_000_000),
      closeTimeout: whole("closeTimeout", closeTimeout, 10_000, 0, MAX_MS),
    },
  };
}

function isLoopback(host: string): boolean {
  return /^(localhost|::1|127(\.\d{1,3}){3})$/i.test(host);
}
