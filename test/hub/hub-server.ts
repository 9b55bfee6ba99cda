// A server on loopback that speaks the Hub's protocol: revisions, lists of files in pages, and files with ranges. Large files are
// redirected to a second server, as the Hub redirects to its storage.
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface HubFile {
  content: Buffer;
  /** Whether it is a large file, which has a SHA-256 and lies on the storage server. */
  lfs?: boolean;
}

/** Changes the protocol for one request. Returns true if it has answered. */
export type Hook = (
  request: IncomingMessage,
  response: ServerResponse,
  where: "hub" | "storage",
) => boolean | undefined;

export interface HubRequest {
  where: "hub" | "storage";
  path: string;
  range: string | undefined;
  authorization: string | undefined;
}

export const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
export const gitSha1 = (bytes: Buffer) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
export const digestOf = ({ content, lfs }: HubFile) => (lfs ? sha256(content) : gitSha1(content));

/** A fake Hub with any number of repositories. Each has one commit, which the revisions `main` and `v1` name. */
export class HubServer {
  readonly requests: HubRequest[] = [];
  readonly repositories = new Map<string, Map<string, HubFile>>();
  /** Number of files in a page of the list. */
  pageSize = 1000;
  hook: Hook | undefined;
  private readonly servers: Server[] = [];
  endpoint = "";
  private storage = "";

  async start(): Promise<this> {
    this.storage = await this.listen("storage");
    this.endpoint = await this.listen("hub");
    return this;
  }

  /** Closes both servers and drops their connections. */
  async stop(): Promise<void> {
    for (const server of this.servers.splice(0)) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  add(name: string, files: Readonly<Record<string, HubFile | string>>): string {
    const all = Object.entries(files).map(
      ([path, file]) => [path, typeof file === "string" ? { content: Buffer.from(file) } : file] as const,
    );
    this.repositories.set(name, new Map(all));
    return this.commitOf(name);
  }

  commitOf(name: string): string {
    const files = [...(this.repositories.get(name) ?? [])].map(([path, file]) => `${path} ${digestOf(file)}`);
    return createHash("sha1")
      .update(`${name}\n${files.join("\n")}`)
      .digest("hex");
  }

  /** Number of requests for bytes of files. */
  get fileRequests(): number {
    return this.requests.filter(({ path }) => /\/resolve\/|^\/stored\//.test(path)).length;
  }

  private async listen(where: "hub" | "storage"): Promise<string> {
    const server = createServer((request, response) => {
      const { url = "", headers } = request;
      this.requests.push({ where, path: url, range: headers.range, authorization: headers.authorization });
      if (this.hook?.(request, response, where)) return;
      if (where === "hub") this.answer(url, request, response);
      else this.sendStored(url, request, response);
    });
    this.servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  private answer(url: string, request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(url, this.endpoint);
    const [, revisionOf, revision] = /^\/api\/models\/(.+?)\/revision\/(.+)$/.exec(pathname) ?? [];
    if (revisionOf !== undefined) {
      const known = this.repositories.has(revisionOf);
      if (!known) return void fail(response, 404, "RepoNotFound");
      const commit = this.commitOf(revisionOf);
      if (![commit, "main", "v1"].includes(decodeURIComponent(revision!)))
        return void fail(response, 404, "RevisionNotFound");
      return void json(response, { _id: "1", id: revisionOf, sha: commit, lastModified: "2026-01-01T00:00:00.000Z" });
    }
    const [, treeOf] = /^\/api\/models\/(.+?)\/tree\/[^/]+$/.exec(pathname) ?? [];
    if (treeOf !== undefined) {
      const all = this.tree(treeOf);
      const from = Number(searchParams.get("cursor") ?? 0);
      const next = from + this.pageSize;
      const link = `<${this.endpoint}${pathname}?recursive=true&cursor=${next}>; rel="next"`;
      return void json(response, all.slice(from, next), next < all.length ? { link } : {});
    }
    const [, name, commit, path] = /^\/(.+?)\/resolve\/([^/]+)\/(.+)$/.exec(pathname) ?? [];
    const file = name === undefined ? undefined : this.repositories.get(name)?.get(decodeURIComponent(path!));
    if (!file) return void fail(response, 404, "EntryNotFound");
    response.setHeader("x-repo-commit", commit!);
    if (file.lfs) {
      const digest = sha256(file.content);
      response.setHeader("x-linked-etag", `"${digest}"`).setHeader("x-linked-size", file.content.length);
      return void redirect(response, `${this.storage}/stored/${digest}?signature=secret`);
    }
    response.setHeader("etag", `"${gitSha1(file.content)}"`);
    return void send(request, response, file.content);
  }

  /** The list of the Hub's API, folders included. */
  tree(name: string): object[] {
    const files = [...(this.repositories.get(name) ?? [])];
    const folders = new Set(files.flatMap(([path]) => (path.includes("/") ? [path.split("/")[0]!] : [])));
    return [
      ...[...folders].map((path) => ({ type: "directory", path, size: 0, oid: "0".repeat(40) })),
      ...files.map(([path, { content, lfs }]) => ({
        type: "file",
        path,
        size: content.length,
        oid: lfs ? gitSha1(Buffer.from("a pointer")) : gitSha1(content),
        ...(lfs && { lfs: { oid: sha256(content), size: content.length, pointerSize: 134 } }),
      })),
    ];
  }

  private sendStored(url: string, request: IncomingMessage, response: ServerResponse): void {
    const digest = /^\/stored\/([0-9a-f]{64})/.exec(url)?.[1];
    const all = [...this.repositories.values()].flatMap((files) => [...files.values()]);
    const file = all.find((each) => each.lfs && sha256(each.content) === digest);
    if (file) send(request, response, file.content);
    else fail(response, 404, "EntryNotFound");
  }
}

export function json(response: ServerResponse, value: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
}

export function fail(response: ServerResponse, status: number, code?: string): void {
  response.writeHead(status, { "content-type": "application/json", ...(code && { "x-error-code": code }) });
  response.end(JSON.stringify({ error: "refused" }));
}

export function redirect(response: ServerResponse, location: string): void {
  response.writeHead(302, { location }).end();
}

/** Sends a file or a range of it. @param cut ends the connection after this many bytes */
export function send(request: IncomingMessage, response: ServerResponse, content: Buffer, cut?: number): void {
  const [, first] = /^bytes=(\d+)-$/.exec(request.headers.range ?? "") ?? [];
  const from = Number(first ?? 0);
  const body = content.subarray(from);
  if (first !== undefined) response.setHeader("content-range", `bytes ${from}-${content.length - 1}/${content.length}`);
  response.writeHead(first === undefined ? 200 : 206, { "content-length": body.length, "accept-ranges": "bytes" });
  if (cut === undefined || cut >= body.length) response.end(body);
  else response.write(body.subarray(0, cut), () => response.destroy());
}
