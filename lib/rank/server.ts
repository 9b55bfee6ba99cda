import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { HeddleError, reasonOf } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { ICON, PAGE } from "./page.ts";
import { SCRIPT } from "./script.ts";
import type { RankSession, RankState } from "./session.ts";
import { STYLE } from "./style.ts";

/** Maximum size of a request body in bytes. A judgement is far smaller. */
const MAX_BODY = 64 << 10;
const LOOPBACK = "127.0.0.1";

const FILES: Readonly<Record<string, { type: string; text: string }>> = {
  "/": { type: "text/html", text: PAGE },
  "/icon.svg": { type: "image/svg+xml", text: ICON },
  "/style.css": { type: "text/css", text: STYLE },
  "/script.js": { type: "text/javascript", text: SCRIPT },
};

interface RankServer {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves the page on this machine only. The server listens on the loopback address, and answers only requests whose Host header is that address
 * or `localhost`. Other web pages therefore cannot reach the server through a DNS name that resolves to the address (DNS rebinding).
 * @param port 0 selects a free port
 * @throws HeddleError IO if the port is taken
 */
export async function serveRanking(session: RankSession, { port = 0 }: { port?: number } = {}): Promise<RankServer> {
  const server = createServer((request, response) => {
    answer(session, server, request).then(
      (reply) => send(response, reply),
      (error: unknown) => send(response, failure(error)),
    );
  });
  server.requestTimeout = 30_000;
  server.headersTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      reject(
        new HeddleError("IO", `port ${port}: expected a free port, got ${cause.code ?? cause.message}`, { cause }),
      );
    });
    server.listen(port, LOOPBACK, resolve);
  });
  return {
    url: `http://${LOOPBACK}:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

interface Reply {
  status: number;
  type: string;
  body: string;
}

async function answer(session: RankSession, server: Server, request: IncomingMessage): Promise<Reply> {
  const { port } = server.address() as AddressInfo;
  const hosts = [`${LOOPBACK}:${port}`, `localhost:${port}`];
  if (!hosts.includes(request.headers.host ?? "")) return refusal(403, "host: expected the address of this server");
  const { origin } = request.headers;
  if (origin !== undefined && !hosts.some((host) => origin === `http://${host}`))
    return refusal(403, "origin: expected this page");
  const path = (request.url ?? "/").split("?")[0]!;
  if (request.method === "GET") {
    if (path === "/api/state") return json(session.state);
    const file = Object.hasOwn(FILES, path) ? FILES[path] : undefined;
    return file
      ? { status: 200, type: `${file.type}; charset=utf-8`, body: file.text }
      : refusal(404, "path: not known");
  }
  if (request.method !== "POST") return refusal(405, "method: expected GET or POST");
  // Another site cannot send this type without a CORS preflight, which this server refuses.
  if (!/^application\/json\b/.test(request.headers["content-type"] ?? ""))
    return refusal(415, "content-type: expected application/json");
  return json(await change(session, path, await bodyOf(request)));
}

async function change(session: RankSession, path: string, body: Record<string, unknown>): Promise<RankState> {
  const id = () => {
    if (!Number.isSafeInteger(body.id)) throw new HeddleError("INVALID_ARGUMENT", "id: expected a prompt's number");
    return body.id as number;
  };
  switch (path) {
    case "/api/vote": {
      const { ranking } = body;
      if (!Array.isArray(ranking) || !ranking.every(Array.isArray))
        throw new HeddleError("INVALID_ARGUMENT", "ranking: expected an array of groups of answers");
      const { bad = false } = body;
      if (typeof bad !== "boolean") throw new HeddleError("INVALID_ARGUMENT", "bad: expected true or false");
      return session.vote(id(), ranking, { bad });
    }
    case "/api/skip":
      return session.skip(id());
    case "/api/dismiss":
      return session.dismiss(id());
    case "/api/again":
      return session.again(id());
    case "/api/undo":
      return session.undo();
    default:
      throw new HeddleError("NOT_FOUND", "path: expected vote, skip, dismiss, again or undo");
  }
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += (part as Buffer).length;
    if (bytes > MAX_BODY) throw new HeddleError("INVALID_ARGUMENT", `body: expected at most ${MAX_BODY} bytes`);
    parts.push(part as Buffer);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch {
    value = undefined;
  }
  if (!isObject(value)) throw new HeddleError("INVALID_ARGUMENT", "body: expected a JSON object");
  return value;
}

function json(value: unknown): Reply {
  return { status: 200, type: "application/json; charset=utf-8", body: JSON.stringify(value) };
}

function refusal(status: number, message: string): Reply {
  return { ...json({ error: { message } }), status };
}

function failure(error: unknown): Reply {
  if (!(error instanceof HeddleError)) return refusal(500, reasonOf(error));
  const status = { INVALID_ARGUMENT: 409, NOT_FOUND: 404 }[error.code as string] ?? 500;
  return refusal(status, error.message);
}

function send(response: ServerResponse, { status, type, body }: Reply): void {
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
  });
  response.end(body);
}
