import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { createServer } from "node:net";
import { HeddleError } from "../core/errors.ts";

/**
 * Claims a file or folder for one run among all processes of this machine. On Linux the lock is an abstract socket, which disappears with
 * its process. A killed run therefore never locks out the run that resumes it. Other systems have no lock.
 *
 * @param path the file or folder
 * @param name the option that gave the path, for messages
 * @returns a function that releases the claim
 * @throws HeddleError INVALID_ARGUMENT if another run has claimed it
 */
export async function claim(path: string, name: string, kind: "file" | "folder" = "folder"): Promise<() => void> {
  if (process.platform !== "linux") return () => {};
  const hash = createHash("sha256")
    .update(await realpath(path))
    .digest("hex");
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code !== "EADDRINUSE") return resolve(); // no sockets in this sandbox: no lock, as on other systems
      const expected = `a ${kind} that no other run writes`;
      reject(new HeddleError("INVALID_ARGUMENT", `${name}: expected ${expected}, got ${path}`, { cause }));
    });
    server.listen({ path: `\0heddle-${hash}`, exclusive: true }, () => resolve());
  });
  server.unref();
  return () => server.close();
}
