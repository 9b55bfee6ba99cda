// Locks that disappear with their process, however it ends: a killed run never locks out the run that resumes it.
import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { ioError } from "./atomic-files.ts";
import { realPath } from "./real-path.ts";

/**
 * Claims a file or folder for one run among all processes of this machine. Containers do not see each other's claims. Where sockets are
 * unavailable, as in some sandboxes, nothing is locked and every claim succeeds.
 *
 * @param path the file or folder
 * @param name the option that gave the path, for messages
 * @param how.address returns the address of the lock's socket for a hash of the path, for tests. Default: by platform
 * @returns a function that releases the claim
 * @throws HeddleError INVALID_ARGUMENT if another run has claimed it, NOT_FOUND, IO
 */
export async function claim(
  path: string,
  name: string,
  kind: "file" | "folder" = "folder",
  { address = addressOf }: { address?: (hash: string) => string } = {},
): Promise<() => void> {
  const real = await realPath(path).catch((error: unknown) => {
    throw ioError(error, path, "claimed");
  });
  const hash = createHash("sha256").update(real).digest("hex");
  const place = address(hash);
  // Connect to a named pipe first: Wine lets several programs listen on one, so `listen` would not fail.
  let taken = isPipe(place) && (await answers(place)) ? "in use" : await listen(place);
  // The socket's file outlives a killed process. If no process answers, remove the file and claim its name.
  if (taken === "in use" && isFile(place) && !(await answers(place))) {
    await rm(place, { force: true }).catch(() => {});
    taken = await listen(place);
  }
  if (taken === "in use") {
    throw new HeddleError("INVALID_ARGUMENT", `${name}: expected a ${kind} that no other run writes, got ${path}`);
  }
  return () => taken?.close();
}

/**
 * Returns the address of a lock's socket. Abstract sockets (Linux) and named pipes (Windows) leave no file. On other
 * systems the socket is a file.
 */
function addressOf(hash: string): string {
  if (process.platform === "linux") return `\0heddle-${hash}`;
  if (process.platform === "win32") return `\\\\.\\pipe\\heddle-${hash}`;
  // Names of sockets are limited to 104 bytes on macOS.
  return join(tmpdir(), `heddle-${hash.slice(0, 32)}.sock`);
}

function isFile(address: string): boolean {
  return !address.startsWith("\0") && !isPipe(address);
}

function isPipe(address: string): boolean {
  return address.startsWith("\\\\.\\pipe");
}

/** @returns the server that holds the address, "in use" if another one does, or undefined if it cannot listen, for example without sockets */
async function listen(address: string): Promise<Server | "in use" | undefined> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve) => {
    server.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code === "EADDRINUSE" ? "in use" : undefined));
    server.listen({ path: address, exclusive: true }, () => resolve(server.unref()));
  });
}

async function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address, () => resolve(true));
    socket.once("error", () => resolve(false)).once("close", () => socket.destroy());
  });
}
