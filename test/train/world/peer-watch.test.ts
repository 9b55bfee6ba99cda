// Ranks that watch each other over connections with rank 0. These ranks are objects of one process.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import type { HeddleError } from "../../../lib/core/errors.ts";
import { PeerWatch } from "../../../lib/train/world/peer-watch.ts";
import { connectWatch, tokenOf } from "../../../lib/train/world/watch-connections.ts";
import { freePort } from "../../helpers/free-port.ts";

const secret = Uint8Array.from({ length: 128 }, (_, i) => i);

interface Rank {
  rank: number;
  watch: PeerWatch;
  losses: string[];
  hasNone: boolean;
}
const open: Rank[] = [];
afterEach(() => {
  for (const { watch } of open.splice(0)) watch.fail();
});

function rankOf(rank: number, size: number, silenceSeconds = 60): Rank {
  const made: Rank = { rank, watch: undefined as never, losses: [], hasNone: false };
  made.watch = new PeerWatch({
    rank,
    size,
    silenceSeconds,
    onLost: (loss) => made.losses.push(`${loss.code} ${loss.message}`),
    onDisconnected: () => {
      made.hasNone = true;
    },
  });
  open.push(made);
  return made;
}

const join = ({ rank, watch }: Rank, size: number, port: number, timeoutSeconds = 20) =>
  connectWatch(watch, { rank, size, secret, at: { address: "127.0.0.1", port, timeoutSeconds } });

async function connected(size: number, silenceSeconds?: number): Promise<Rank[]> {
  const port = await freePort();
  const ranks = Array.from({ length: size }, (_, rank) => rankOf(rank, size, silenceSeconds));
  await Promise.all(ranks.map((rank) => join(rank, size, port)));
  return ranks;
}

/** An operation of all ranks that never completes. */
const hang = ({ watch }: Rank): Promise<string> =>
  watch.during(() => new Promise<never>(() => {})).catch(({ message }: HeddleError) => message);
const done = ({ watch }: Rank) => watch.during(async () => "done");

/** A connection that says what a rank says, without a PeerWatch. */
async function rawRank(rank: number, port: number): Promise<Socket> {
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    if (await new Promise((done) => socket.once("connect", () => done(true)).once("close", () => done(false)))) {
      socket.write(`heddle-watch/1 ${tokenOf(secret)} ${rank}\n`);
      expect(String((await once(socket, "data"))[0])).toBe("welcome\n");
      socket.write("ok\n");
      return socket;
    }
    await sleep(10);
  }
}

test("ranks that leave at different times after the same operations are not lost, and all connections close", async () => {
  const ranks = await connected(3);
  expect(await Promise.all(ranks.map(done))).toEqual(["done", "done", "done"]);
  for (const { watch } of [ranks[1]!, ranks[0]!, ranks[2]!]) {
    watch.leave();
    await sleep(100);
  }
  expect(ranks.map(({ losses }) => losses)).toEqual([[], [], []]);
  expect(ranks.map(({ hasNone }) => hasNone)).toEqual([true, true, true]);
  // A rank that has left no longer watches its operations.
  expect(await done(ranks[0]!)).toBe("done");
});

test("an operation fails on every rank that has begun it when another rank has left without it", async () => {
  const ranks = await connected(3);
  await Promise.all(ranks.map(done));
  const pending = hang(ranks[2]!);
  ranks[1]!.watch.leave();
  const message = "world: rank 1 of 3 has ended before the others";
  expect(await pending).toBe(message);
  expect(await hang(ranks[0]!)).toBe(message);
  expect(ranks.map(({ losses }) => losses)).toEqual([[`IO ${message}`], [], [`IO ${message}`]]);
});

test("a rank that fails after it has left is lost", async () => {
  const ranks = await connected(3);
  const pending = [hang(ranks[0]!), hang(ranks[2]!)];
  void hang(ranks[1]!);
  ranks[1]!.watch.leave();
  ranks[1]!.watch.fail();
  const message = "world: rank 1 of 3 has failed";
  expect(await Promise.all(pending)).toEqual([message, message]);
});

test("a rank that fails first is the one that all others name, and later operations fail at once", async () => {
  const ranks = await connected(4);
  ranks[0]!.watch.fail();
  const others = ranks.slice(1);
  const message = "world: rank 0 of 4 has failed";
  expect(await Promise.all(others.map(hang))).toEqual([message, message, message]);
  ranks[2]!.watch.fail();
  await sleep(100);
  expect(await hang(ranks[1]!)).toBe(message);
  expect(others.map(({ losses }) => losses)).toEqual([[`IO ${message}`], [`IO ${message}`], [`IO ${message}`]]);
});

test("a rank whose connection closes is lost, whatever it has sent", async () => {
  const port = await freePort();
  const ranks = [rankOf(0, 3), rankOf(2, 3)];
  const joined = Promise.all(ranks.map((rank) => join(rank, 3, port)));
  const raw = await rawRank(1, port);
  await joined;
  // Rank 1 may not speak of others, and unknown lines are ignored.
  raw.write("lost 2 failed\nleft 0 7\nlost 1 unknown\nleft 1 99999999999999999999\nlost 9 failed\n\n\0\xff\nleft 1");
  await sleep(200);
  expect(ranks.map(({ losses }) => losses)).toEqual([[], []]);
  raw.destroy();
  const message = "IO world: rank 1 of 3 has ended or lost its connection";
  for (const { losses } of ranks) await expect.poll(() => losses).toEqual([message]);
});

test("a rank that sends an endless line is lost", async () => {
  const port = await freePort();
  const first = rankOf(0, 2);
  const joined = join(first, 2, port);
  const raw = await rawRank(1, port);
  await joined;
  raw.write("x".repeat(100_000));
  await expect.poll(() => first.losses).toEqual(["IO world: rank 1 of 2 has ended or lost its connection"]);
});

test("a rank that sends nothing is lost after the time limit and told so, and heartbeats keep the others", async () => {
  const port = await freePort();
  const ranks = [rankOf(0, 3, 2), rankOf(2, 3, 2)];
  const joined = Promise.all(ranks.map((rank) => join(rank, 3, port)));
  const raw = await rawRank(1, port);
  await joined;
  // Rank 0 keeps the connection open to tell rank 1 of the loss, because rank 1 may only have been stopped for a while.
  let heard = "";
  let isOpen = true;
  raw.on("data", (bytes) => {
    heard += bytes;
  });
  raw.on("close", () => {
    isOpen = false;
  });
  const since = performance.now();
  const message = "IO world: rank 1 of 3 has sent no heartbeat for 2 s";
  for (const { losses } of ranks) await expect.poll(() => losses, { timeout: 10_000 }).toEqual([message]);
  expect(performance.now() - since).toBeGreaterThan(1900);
  await expect.poll(() => heard.split("\n")).toContain("lost 1 silent 2");
  expect(isOpen).toBe(true);
  raw.destroy();
});

test("strangers, other runs and wrong bytes do not take a rank's place, and rank 0 stops listening when all are there", async () => {
  const port = await freePort();
  const [first, second] = [rankOf(0, 2), rankOf(1, 2)];
  const joined = join(first, 2, port);
  const ends: Promise<unknown>[] = [];
  let dropped = 0;
  const token = tokenOf(secret);
  for (const bytes of [
    "GET / HTTP/1.1\r\n\r\n",
    "x".repeat(100_000),
    `heddle-watch/1 ${"0".repeat(64)} 1\nok\n`,
    `heddle-watch/1 ${token} 0\nok\n`,
    `heddle-watch/1 ${token} 2\nok\n`,
    `heddle-watch/1 ${token} 1\nno\n`,
  ]) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {}).on("data", () => {});
    ends.push(new Promise((end) => socket.on("close", end)));
    socket.on("connect", () => {
      dropped += 1;
      socket.write(bytes);
    });
  }
  await Promise.all(ends);
  expect(dropped).toBe(6);
  const half = connect(port, "127.0.0.1", () => half.write(`heddle-watch/1 ${token} 1\n`));
  await once(half, "data");
  half.resetAndDestroy();
  await Promise.all([joined, join(second, 2, port)]);
  expect([first.losses, second.losses]).toEqual([[], []]);
  const late = connect(port, "127.0.0.1");
  expect(await once(late, "error")).toMatchObject([{ code: "ECONNREFUSED" }]);
});

test("a rank tries again while another program listens on the port, and a missing rank is named", async () => {
  const port = await freePort();
  const other = createServer(
    (socket) =>
      void socket
        .on("error", () => {})
        .resume()
        .end("HTTP/1.1 400 Bad Request\r\n\r\n"),
  );
  await once(other.listen(port), "listening");
  const [first, second] = [rankOf(0, 2), rankOf(1, 2)];
  await expect(join(first, 2, port, 0.5)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: `MASTER_PORT: expected a port on which rank 0 can listen, got ${port} (EADDRINUSE)`,
  });
  const joined = join(second, 2, port);
  await sleep(300);
  await new Promise((closed) => other.close(closed));
  await Promise.all([join(first, 2, port), joined]);
  await expect(join(rankOf(0, 3), 3, port, 0.3)).rejects.toMatchObject({
    code: "NOT_FOUND",
    message: "MASTER_PORT: timed out after 0.3 s, got no request from 2 of 3 ranks: 1, 2",
  });
});

test("rank 0 shares the port that the system chooses, and a loss before all ranks are there ends the wait", async () => {
  let share: (port: number) => void = () => {};
  const shared = new Promise<number>((resolve) => {
    share = resolve;
  });
  const sharePort = (port: number | undefined) => {
    if (port !== undefined) share(port);
    return shared;
  };
  const at = { address: "127.0.0.1", port: 1, timeoutSeconds: 20 };
  const ranks = [0, 1].map((rank) => rankOf(rank, 3));
  const waiting = connectWatch(ranks[0]!.watch, { rank: 0, size: 3, secret, at, sharePort });
  await connectWatch(ranks[1]!.watch, { rank: 1, size: 3, secret, at, sharePort });
  ranks[1]!.watch.fail();
  await expect(waiting).rejects.toMatchObject({ code: "IO", message: "world: rank 1 of 3 has failed" });
  // A rank that comes later learns of the loss.
  const late = rankOf(2, 3);
  await connectWatch(late.watch, { rank: 2, size: 3, secret, at, sharePort }).catch(() => {});
  await expect.poll(() => late.losses).toEqual(["IO world: rank 1 of 3 has failed"]);
});
