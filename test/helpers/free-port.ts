import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";

/** Returns a port that no server listens on. Another process may take it at any time. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}
