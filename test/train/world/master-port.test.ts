// Rank 0 gives its bytes to the others over MASTER_PORT.
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { shareByPort } from "../../../lib/train/world/master-port.ts";

const id = Uint8Array.from({ length: 128 }, (_, i) => (i === 5 ? 10 : 255 - i)); // with a line break
const none = new Uint8Array();
const key = "heddle/a run/0/nccl";

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

test("all ranks get rank 0's bytes, whoever comes first, and the port is free afterwards", async () => {
  const at = { address: "127.0.0.1", port: await freePort(), timeoutSeconds: 20 };
  const early = shareByPort(at, { rank: 1, size: 4, key }, none);
  await sleep(300);
  expect(await shareByPort(at, { rank: 0, size: 4, key }, id)).toEqual(id);
  const late = [2, 3].map((rank) => shareByPort(at, { rank, size: 4, key }, none));
  expect(await Promise.all([early, ...late])).toEqual([id, id, id]);
  // The next attempt of the run listens again.
  for (let i = 0; ; i++)
    try {
      await shareByPort(at, { rank: 0, size: 2, key: `${key}/1` }, id);
      break;
    } catch (error) {
      if (i === 50) throw error;
      await sleep(20);
    }
  expect(await shareByPort(at, { rank: 1, size: 2, key: `${key}/1` }, none)).toEqual(id);
});

test("a rank of another run is rejected with both names, and the run goes on", async () => {
  const at = { address: "127.0.0.1", port: await freePort(), timeoutSeconds: 20 };
  await shareByPort(at, { rank: 0, size: 2, key }, id);
  await expect(shareByPort(at, { rank: 1, size: 2, key: "heddle/other/0/nccl" }, none)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: `MASTER_ADDR: rank 0 at 127.0.0.1:${at.port}: expected the run heddle/other/0/nccl, got ${key}; give each run its own MASTER_PORT`,
  });
  expect(await shareByPort(at, { rank: 1, size: 2, key }, none)).toEqual(id);
});

test("a client that sends something else or nothing does not stop the others", async () => {
  const at = { address: "127.0.0.1", port: await freePort(), timeoutSeconds: 20 };
  await shareByPort(at, { rank: 0, size: 2, key }, id);
  const silent = connect(at.port, at.address);
  const wrong = connect(at.port, at.address);
  const closed = new Promise((resolve) => wrong.on("error", () => {}).on("close", resolve));
  wrong.write("x".repeat(100_000));
  await closed;
  expect(await shareByPort(at, { rank: 1, size: 2, key }, none)).toEqual(id);
  silent.destroy();
});

test("a missing rank 0, another server and a port in use are errors", async () => {
  const port = await freePort();
  const at = { address: "127.0.0.1", port, timeoutSeconds: 0.5 };
  await expect(shareByPort(at, { rank: 1, size: 2, key }, none)).rejects.toMatchObject({
    code: "NOT_FOUND",
    message: `MASTER_ADDR: rank 0 at 127.0.0.1:${port}: timed out after 0.5 s, got ECONNREFUSED`,
  });
  const server = createServer((socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")).listen(port);
  await once(server, "listening");
  await expect(shareByPort(at, { rank: 1, size: 2, key }, none)).rejects.toMatchObject({
    code: "NOT_FOUND",
    message: expect.stringContaining("got an answer of another program"),
  });
  await expect(shareByPort(at, { rank: 0, size: 2, key }, id)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: `MASTER_PORT: expected a port on which rank 0 can listen, got ${port} (EADDRINUSE)`,
  });
  server.close();
});
