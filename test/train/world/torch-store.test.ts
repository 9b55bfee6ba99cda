// The client of torchrun's TCPStore, against a server that follows its protocol (torch/csrc/distributed/c10d/TCPStoreLibUvBackend.cpp).
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { watchAtMaster } from "../../../lib/train/world/open-world.ts";
import { shareByStore } from "../../../lib/train/world/torch-store.ts";

let server: Server | undefined;
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server?.close();
});

/** Starts a store. It reads requests in pieces of one byte, and answers a wait once the key exists. */
async function startStore(reply?: (socket: Socket) => void): Promise<number> {
  const values = new Map<string, Buffer>();
  const waiting: { key: string; socket: Socket }[] = [];
  server = createServer((socket) => {
    sockets.add(socket);
    if (reply) return reply(socket);
    let input = Buffer.alloc(0);
    let valid = false;
    // Reads one request if it is complete. Its first byte is 0 to validate, 1 to set a key, 3 to get one, and 6 to wait for keys.
    const request = (): boolean => {
      let at = 1;
      const sized = () => {
        if (input.length < at + 8) return undefined;
        const end = at + 8 + Number(input.readBigUInt64LE(at));
        if (input.length < end) return undefined;
        const found = input.subarray(at + 8, end);
        at = end;
        return found;
      };
      if (input.length < 1) return false;
      if (input[0] === 0) {
        if (input.length < 5) return false;
        expect(input.readUInt32LE(1)).toBe(0x3c85f7ce); // the protocol's magic number
        valid = true;
        at = 5;
      } else if (input[0] === 1) {
        const [key, value] = [sized(), sized()];
        if (!key || !value) return false;
        values.set(String(key), Buffer.from(value));
      } else if (input[0] === 6) {
        if (input.length < 9) return false;
        expect(input.readBigUInt64LE(1)).toBe(1n);
        at = 9;
        const key = sized();
        if (!key) return false;
        waiting.push({ key: String(key), socket });
      } else if (input[0] === 3) {
        const key = sized();
        if (!key) return false;
        const value = values.get(String(key))!;
        const size = Buffer.alloc(8);
        size.writeBigUInt64LE(BigInt(value.length));
        for (const byte of Buffer.concat([size, value])) socket.write(Buffer.of(byte));
      } else throw new Error(`unknown request ${input[0]}`);
      expect(valid).toBe(true);
      input = input.subarray(at);
      for (const one of waiting.splice(0))
        if (values.has(one.key)) one.socket.write(Buffer.of(0));
        else waiting.push(one);
      return true;
    };
    socket.on("data", (data) => {
      for (const byte of data) {
        input = Buffer.concat([input, Buffer.of(byte)]);
        while (request());
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

test("all ranks get rank 0's bytes, whoever comes first", async () => {
  const at = { address: "127.0.0.1", port: await startStore(), timeoutSeconds: 20 };
  const id = Uint8Array.from({ length: 128 }, (_, i) => 255 - i);
  const others = [1, 2].map(() => shareByStore(at, "heddle/run/0/nccl", undefined));
  const late = shareByStore(at, "heddle/run/1/nccl", undefined);
  expect(await shareByStore(at, "heddle/run/0/nccl", id)).toEqual(id);
  expect(await Promise.all(others)).toEqual([id, id]);
  // Another restart attempt uses another key.
  const next = Uint8Array.of(7);
  expect(await shareByStore(at, "heddle/run/1/nccl", next)).toEqual(next);
  expect(await late).toEqual(next);
});

test("a missing rank 0, another kind of server, and a missing server are errors", async () => {
  const port = await startStore();
  await expect(shareByStore({ address: "127.0.0.1", port, timeoutSeconds: 0.2 }, "k", undefined)).rejects.toMatchObject(
    {
      code: "NOT_FOUND",
      message: `MASTER_ADDR: the store at 127.0.0.1:${port}: timed out after 0.2 s waiting for rank 0`,
    },
  );
  server!.close();
  const other = await startStore((socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  const wrong = { address: "127.0.0.1", port: other, timeoutSeconds: 5 };
  await expect(shareByStore(wrong, "k", undefined)).rejects.toMatchObject({
    code: "IO",
    message: expect.stringContaining("expected the response 0, got 72"),
  });
  server!.close();
  await expect(shareByStore({ ...wrong, port }, "k", undefined)).rejects.toMatchObject({
    code: "IO",
    message: expect.stringContaining("ECONNREFUSED"),
  });
});

test("the other ranks learn rank 0's port for the watch from the store, and without a store it is MASTER_PORT", async () => {
  const master = { address: "127.0.0.1", port: await startStore() };
  const [first, second] = [0, 1].map(() => watchAtMaster({ master, agentStore: true, runId: "run" }));
  expect(await Promise.all([second!.sharePort!(undefined), first!.sharePort!(47_110)])).toEqual([47_110, 47_110]);
  expect(watchAtMaster({ master, agentStore: false })).toEqual({ at: { ...master, timeoutSeconds: 120 } });
});
