import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { claim } from "../../lib/io/claim.ts";
import { temporaryFolder } from "../formats/helpers.ts";

const socketIn = (folder: string) => () => join(folder, "lock.sock");
const ways = [
  ["the system's lock", () => ({})],
  ["a socket with a file", (folder: string) => ({ address: socketIn(folder) })],
] as const;

describe.each(ways)("a claim by %s", (_, how) => {
  test("refuses a second claim of the same folder until it is released", async () => {
    const folder = temporaryFolder();
    const release = await claim(folder, "outputDir", "folder", how(folder));
    await expect(claim(folder, "outputDir", "folder", how(folder))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: `outputDir: expected a folder that no other run writes, got ${folder}`,
    });
    release();
    (await claim(folder, "outputDir", "folder", how(folder)))();
  });
});

test("a claim of a missing folder is rejected with an error that names the folder", async () => {
  const folder = join(temporaryFolder(), "missing");
  await expect(claim(folder, "outputDir")).rejects.toMatchObject({
    code: "NOT_FOUND",
    message: `${folder}: cannot be claimed: no such file or folder`,
  });
});

test("a claim replaces the socket file of a killed process", async () => {
  const folder = temporaryFolder();
  const address = socketIn(folder)();
  const listens = `require("node:net").createServer().listen(${JSON.stringify(address)}, () => console.log("ready"))`;
  const killed = spawn(process.execPath, ["-e", listens]);
  await new Promise((resolve) => killed.stdout.once("data", resolve));
  await expect(claim(folder, "outputDir", "folder", { address: () => address })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  const ended = new Promise((resolve) => killed.once("exit", resolve));
  killed.kill("SIGKILL");
  await ended;
  expect(existsSync(address)).toBe(true);
  (await claim(folder, "outputDir", "folder", { address: () => address }))();
});

test("a claim succeeds without a lock where the system has no sockets", async () => {
  const address = join(temporaryFolder(), "missing", "lock.sock");
  const folder = temporaryFolder();
  (await claim(folder, "outputDir", "folder", { address: () => address }))();
  const server = createServer();
  await expect(new Promise((_, reject) => server.once("error", reject).listen(address))).rejects.toThrow();
});
