// Finds the endpoint of a request.
import type { IncomingHttpHeaders } from "node:http";
import type { Refusal } from "../http/http-error.ts";
import type { HandlerSettings } from "../options.ts";
import type { Exchange } from "./context.ts";

/**
 * An endpoint. It answers a request or throws. If it fails after it has begun to send, it should end the response with the error before it
 * throws. Otherwise the handler closes the connection.
 */
export interface Route {
  method: "GET" | "POST" | "DELETE";
  /**
   * The exact path. One part may be a parameter, as in `/v1/models/:model`, which may contain slashes. The first route
   * that matches is used.
   */
  path: string;
  endpoint(exchange: Exchange): Promise<void> | void;
  /** The endpoint's own names of parameters, in addition to those of its dialect. */
  parameterNames?: Readonly<Record<string, string>>;
  /** Whether the request needs an API key. Default true. */
  guarded?: boolean | ((settings: HandlerSettings) => boolean);
  /** Whether the endpoint answers while the server closes. Default false. */
  whileClosing?: boolean;
  /** Whether the endpoint generates or computes. A full queue then refuses a request before its body is read. Default: true for POST. */
  computes?: boolean;
}

/** An API of another vendor that the server speaks. */
export interface Dialect {
  routes: readonly Route[];
  /** Returns the body of an error response. @param requestId the request's id */
  errorBody(refusal: Refusal, requestId: string): object;
  /** Maps the library's option names, with which its error messages begin, to request parameters. */
  parameterNames: Readonly<Record<string, string>>;
  /** An additional response header with the request's id, as in `x-request-id`. */
  requestIdHeader?: string;
  /**
   * Whether a request speaks this API, if its path alone does not decide it. The dialect then answers paths that
   * several dialects have, and writes the errors for unknown paths.
   */
  claims?(request: { path: string; headers: IncomingHttpHeaders }): boolean;
}

/** A route that matches a path, its dialect, and the parameter in the path. */
export interface Found {
  dialect: Dialect;
  route: Route;
  parameter: string;
}

/** Returns the dialects in the order in which a request tries them: the one that claims it comes first. */
export function dialectsFor(
  request: { path: string; headers: IncomingHttpHeaders },
  dialects: readonly Dialect[],
): readonly Dialect[] {
  const claiming = dialects.find((dialect) => dialect.claims?.(request));
  return claiming ? [claiming, ...dialects.filter((dialect) => dialect !== claiming)] : dialects;
}

/** Returns the routes of a path, in the order of the dialects. Paths are not normalized, so only exact paths match. */
export function routesAt(path: string, dialects: readonly Dialect[]): Found[] {
  return dialects.flatMap((dialect) =>
    dialect.routes.flatMap((route) => {
      const parameter = parameterOf(path, route.path);
      return parameter === undefined ? [] : [{ dialect: dialectOf(dialect, route), route, parameter }];
    }),
  );
}

/** Returns the dialect with the endpoint's own names of parameters. */
function dialectOf(dialect: Dialect, { parameterNames }: Route): Dialect {
  return parameterNames ? { ...dialect, parameterNames: { ...dialect.parameterNames, ...parameterNames } } : dialect;
}

/** Returns the parameter in a path, "" if the pattern has none, or undefined if the path does not match. */
function parameterOf(path: string, pattern: string): string | undefined {
  const at = pattern.indexOf("/:");
  if (at < 0) return path === pattern ? "" : undefined;
  const end = pattern.indexOf("/", at + 1);
  const [before, after] = [pattern.slice(0, at + 1), end < 0 ? "" : pattern.slice(end)];
  if (!path.startsWith(before) || !path.endsWith(after) || path.length <= before.length + after.length)
    return undefined;
  const rest = path.slice(before.length, path.length - after.length);
  try {
    return decodeURIComponent(rest);
  } catch {
    return rest; // not validly encoded, so it names nothing
  }
}
