// What two runs at a time would spoil for each other beside weights: one output folder.
import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { createServer } from "node:net";
import { HeddleError } from "../errors.ts";

/**
 * Claims a folder for one run among all processes of this machine. On Linux a socket's name in the kernel's own space stands for it: it
 * vanishes with its process, however that ends, so that a killed run never locks out the one that resumes it. Elsewhere nothing is claimed.
 *
 * @param folder one that is there
 * @returns gives it back
 * @throws HeddleError INVALID_ARGUMENT where another run writes it
 */
export async function claimFolder(folder: string): Promise<() => void> {
  if (process.platform !== "linux") return () => {};
  const name = createHash("sha256")
    .update(await realpath(folder))
    .digest("hex");
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code !== "EADDRINUSE") return resolve(); // a sandbox without sockets: as elsewhere
      reject(
        new HeddleError("INVALID_ARGUMENT", `outputDir: expected a folder that no other run writes, got ${folder}`, {
          cause,
        }),
      );
    });
    server.listen({ path: `\0heddle-${name}`, exclusive: true }, () => resolve());
  });
  server.unref();
  return () => server.close();
}
