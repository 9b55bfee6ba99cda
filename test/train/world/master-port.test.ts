// Rank 0 sends its bytes, such as NCCL's id, to the other ranks over MASTER_PORT.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { shareByPort } from "../../../lib/train/world/master-port.ts";
import { meetAtMaster } from "../../../lib/train/world/open-world.ts";
import { freePort } from "../../helpers/free-port.ts";

const id = Uint8Array.from({ length: 128 }, (_, i) => (i === 5 ? 10 : 255 - i)); // with a line break
const none = new Uint8Array();
const key = "heddle/a run/0/nccl";

const open = async (timeoutSeconds = 20) => ({ address: "127.0.0.1", port: await freePort(), timeoutSeconds });

/** Opens a connection to rank 0, which may not listen yet. */
async function connected({ address, port }: { address: string; port: number }): Promise<Socket> {
  for (;;) {
    const socket = connect(port, address);
    socket.on("error", () => {});
    if (await new Promise((done) => socket.once("connect", () => done(true)).once("close", () => done(false))))
      return socket;
    await sleep(10);
  }
}

test("all ranks get rank 0's bytes, whoever comes first, and the port is free afterwards", async () => {
  const at = await open();
  for (const attempt of [`${key}/0`, `${key}/1`]) {
    const early = shareByPort(at, { rank: 1, size: 4, key: attempt }, none);
    await sleep(300);
    const first = shareByPort(at, { rank: 0, size: 4, key: attempt }, id);
    const late = [2, 3].map((rank) => shareByPort(at, { rank, size: 4, key: attempt }, none));
    expect(await Promise.all([first, early, ...late])).toEqual([id, id, id, id]);
  }
});

test.each([
  ["a rank of another run", { rank: 1, size: 2, key: "other" }],
  ["a rank of a run with another number of ranks", { rank: 2, size: 3, key }],
  ["a rank that does not exist", { rank: 7, size: 2, key }],
])("%s is rejected with an error that names both runs, and rank 0 goes on", async (_, wrong) => {
  const at = await open();
  const first = shareByPort(at, { rank: 0, size: 2, key }, id);
  await expect(shareByPort(at, wrong, none)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: `MASTER_ADDR: rank 0 at 127.0.0.1:${at.port}: expected the run ${wrong.key} with rank ${wrong.rank} of ${wrong.size}, got ${key} with 2 ranks; give each run its own MASTER_PORT`,
  });
  expect(await Promise.all([first, shareByPort(at, { rank: 1, size: 2, key }, none)])).toEqual([id, id]);
});

test("clients that are silent, send something else, or leave with the bytes unconfirmed do not take a rank's place", async () => {
  const at = await open();
  const first = shareByPort(at, { rank: 0, size: 2, key }, id);
  const silent = await connected(at);
  const wrong = await connected(at);
  const closed = new Promise((resolve) => wrong.on("close", resolve));
  wrong.write("x".repeat(100_000));
  await closed;
  const watching = await connected(at);
  const since = performance.now();
  watching.write("heddle-watch/1 token 1\n"); // of a rank that has the bytes
  await once(watching, "close");
  expect(performance.now() - since).toBeLessThan(5000);
  const leaving = await connected(at);
  leaving.write(`heddle/1 ${encodeURIComponent(key)} 2 1\n`);
  await once(leaving, "data");
  leaving.resetAndDestroy();
  expect(await Promise.all([first, shareByPort(at, { rank: 1, size: 2, key }, none)])).toEqual([id, id]);
  silent.destroy();
});

test("missing ranks, another server and a port in use are errors", async () => {
  const at = await open(0.5);
  const { port } = at;
  await expect(shareByPort(at, { rank: 1, size: 2, key }, none)).rejects.toMatchObject({
    code: "NOT_FOUND",
    message: `MASTER_ADDR: rank 0 at 127.0.0.1:${port}: timed out after 0.5 s, got ECONNREFUSED`,
  });
  const first = expect(shareByPort(at, { rank: 0, size: 4, key }, id)).rejects.toMatchObject({
    code: "NOT_FOUND",
    message: "MASTER_PORT: timed out after 0.5 s, got no request from 2 of 4 ranks: 1, 3",
  });
  await shareByPort(at, { rank: 2, size: 4, key }, none);
  await first;
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

test("without torchrun's store, ranks meet at MASTER_PORT, and need the port and a valid time limit", async () => {
  const { port } = await open();
  const master = { address: "127.0.0.1", port };
  const meet = (rank: number, more = {}, timeoutSeconds?: number) =>
    meetAtMaster({ rank, size: 2 }, { master, agentStore: false, runId: "job", ...more }, timeoutSeconds);
  expect(await Promise.all([meet(0)(id), meet(1)(none)])).toEqual([id, id]);
  expect(() => meet(0, { master: { address: "127.0.0.1" } })).toThrow(
    /^rendezvous: .*MASTER_PORT are not set, got none/,
  );
  for (const wrong of [Number.NaN, 0, -1, Number.POSITIVE_INFINITY])
    expect(() => meet(0, {}, wrong)).toThrow(/^timeoutSeconds: expected a number above 0, at most 1209600, got/);
});
