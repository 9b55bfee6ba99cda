// Checks whether a request is allowed: its Host header, its Origin header, and its API key.
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { isIP } from "node:net";
import { Refusal } from "./http-error.ts";

/** Returns the name in a Host header in lower case, without the port. */
function nameIn(host: string): string | undefined {
  return /^(\[[\da-f:.]+\]|[^\s:/@[\]]+)(?::\d{1,5})?$/i.exec(host)?.[1]?.toLowerCase();
}

/** Refuses host names that are not this server's, as a defense against DNS rebinding. @throws Refusal 403 */
export function checkHost(
  request: IncomingMessage,
  { allowedHosts, anyAddress }: { allowedHosts: readonly string[]; anyAddress: boolean },
): void {
  const name = nameIn(request.headers.host ?? "");
  if (name !== undefined) {
    if (allowedHosts.includes("*") || allowedHosts.includes(name)) return;
    if (anyAddress && isIP(name.replace(/^\[|\]$/g, "")) !== 0) return;
  }
  throw new Refusal(403, "host: expected a name of this server (allowedHosts), got another", {
    code: "host_not_allowed",
  });
}

/**
 * Checks the Origin header that browsers send. Pages of this server are allowed, and others if they are listed. Adds the CORS headers for
 * allowed origins.
 * @throws Refusal 403
 */
export function checkOrigin(request: IncomingMessage, response: ServerResponse, allowed: readonly string[]): void {
  const { origin, host } = request.headers;
  if (origin === undefined) return;
  const given = origin.toLowerCase();
  const isOwn =
    host !== undefined && (given === `http://${host.toLowerCase()}` || given === `https://${host.toLowerCase()}`);
  if (!isOwn && !allowed.includes("*") && !allowed.includes(given))
    throw new Refusal(403, "origin: expected an allowed origin (allowedOrigins), got another", {
      code: "origin_not_allowed",
    });
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-expose-headers", "x-request-id, request-id");
  response.setHeader("vary", "origin");
}

/** Answers a CORS preflight request. Call it after the origin was checked. */
export function answerPreflight(request: IncomingMessage, response: ServerResponse): void {
  const asked = request.headers["access-control-request-headers"] ?? "";
  const plain = /^[\w-]+(\s*,\s*[\w-]+)*$/.test(asked) && asked.length <= 1000;
  response.setHeader("access-control-allow-methods", "GET, POST, DELETE");
  response.setHeader("access-control-allow-headers", plain ? asked : "authorization, content-type");
  response.setHeader("access-control-max-age", "600");
  if (request.headers["access-control-request-private-network"] === "true")
    response.setHeader("access-control-allow-private-network", "true");
  response.writeHead(204).end();
}

/** Returns the API key of a request. */
export function givenKey({ authorization = "", "x-api-key": named }: IncomingHttpHeaders): string | undefined {
  // Anthropic's clients send the key alone, in a separate header.
  const bearer = /^bearer +([\x21-\x7e]+) *$/i.exec(authorization)?.[1];
  return bearer ?? (typeof named === "string" ? named : undefined);
}

const digest = (text: string) => createHash("sha256").update(text).digest();

/**
 * Compares API keys in constant time: it compares hashes of equal length, and always all of them.
 * @returns a function that throws Refusal 401 for a request without a valid key
 */
export function keyCheck(keys: readonly string[]): (request: IncomingMessage) => void {
  const known = keys.map(digest);
  return (request) => {
    if (known.length === 0) return;
    const given = givenKey(request.headers);
    const hash = digest(given ?? "");
    let matches = 0;
    for (const key of known) matches |= Number(timingSafeEqual(key, hash));
    if (given !== undefined && matches === 1) return;
    throw new Refusal(
      401,
      `authorization: expected an API key as a bearer token (or in x-api-key), got ${given === undefined ? "none" : "another"}`,
      {
        code: "invalid_api_key",
        headers: { "www-authenticate": "Bearer" },
      },
    );
  };
}
