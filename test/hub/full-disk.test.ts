// Pulls onto a disk without room, and onto systems without symbolic links.
import { existsSync, lstatSync, readFileSync, statSync } from "node:fs";
import type * as fs from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { PARTIAL } from "../../lib/hub/download.ts";
import { filesBelow } from "../../lib/hub/snapshot.ts";
import { LanguageModel, pullModel } from "../../lib/index.ts";
import { faults } from "../helpers/failing-fs.ts";
import { failureOf } from "../inference/helpers.ts";
import { bytes, cache, hub, modelFiles } from "./helpers.ts";
import { digestOf, sha256 } from "./hub-server.ts";

const system = vi.hoisted(() => ({ free: undefined as number | undefined, links: true, hardLinks: true }));

vi.mock("node:fs/promises", async (original) => {
  const { failing } = await import("../helpers/failing-fs.ts");
  const real = await original<typeof fs>();
  const refusal = (code: string) => Object.assign(new Error(code), { code });
  return {
    ...failing(real),
    statfs: async (path: string) => {
      const found = await real.statfs(path);
      return system.free === undefined ? found : { ...found, bavail: system.free, bsize: 1 };
    },
    symlink: async (...args: Parameters<typeof real.symlink>) => {
      if (!system.links) throw refusal("EPERM");
      await real.symlink(...args);
    },
    link: async (...args: Parameters<typeof real.link>) => {
      if (!system.hardLinks) throw refusal("EPERM");
      await real.link(...args);
    },
  };
});

const weights = { content: bytes(300_000), lfs: true };
const blob = (name: string) => join(cache, `models--owner--${name}`, "blobs", digestOf(weights));

test("a pull that does not fit on the disk is rejected before it requests weights", async () => {
  hub.add("owner/large", { "config.json": "{}", "model.safetensors": weights });
  system.free = 200_000;
  expect(await failureOf(() => pullModel("owner/large"))).toEqual({
    code: "IO",
    message: expect.stringMatching(
      /models--owner--large: expected 1 MB of free disk space, got 0 MB; what earlier pulls/,
    ),
  });
  expect(hub.requests.filter(({ where }) => where === "storage")).toEqual([]);
  system.free = undefined;
});

test("a full disk keeps the partial download, and the next pull resumes it", async () => {
  hub.add("owner/full", { "config.json": "{}", "model.safetensors": weights });
  faults.watch();
  await pullModel("owner/full");
  const partial = digestOf(weights) + PARTIAL;
  const writes = faults.changesOf(partial).flatMap(({ name }, i) => (name === "file.write" ? [i] : []));
  expect(writes.length).toBeGreaterThan(2);
  for (const [round, index] of writes.slice(0, 3).entries()) {
    const name = `full-${round}`;
    hub.add(`owner/${name}`, { "config.json": "{}", "model.safetensors": weights });
    faults.failAt(index, "ENOSPC", partial);
    const failure = await failureOf(() => pullModel(`owner/${name}`));
    faults.watch();
    expect(failure).toEqual({ code: "IO", message: expect.stringMatching(/no space left on the disk$/) });
    const folder = join(cache, `models--owner--${name}`);
    expect(existsSync(join(folder, "refs", "main"))).toBe(false);
    expect(await filesBelow(join(folder, "snapshots"))).toEqual([]);
    const kept = statSync(blob(name) + PARTIAL).size;
    expect(kept > 0).toBe(round > 0);
    hub.requests.length = 0;
    const { path, fetched } = await pullModel(`owner/${name}`);
    const ranges = hub.requests.filter(({ where }) => where === "storage").map(({ range }) => range);
    expect(ranges).toEqual([kept > 0 ? `bytes=${kept}-` : undefined]);
    expect(sha256(readFileSync(join(path, "model.safetensors")))).toBe(digestOf(weights));
    // The first pull may have completed config.json, which has two bytes.
    expect([300_000 - kept, 300_002 - kept]).toContain(fetched);
  }
});

test("a kill at any change, or an error at every third change, leaves a cache that the next pull completes", async () => {
  const small = { content: bytes(3000), lfs: true };
  const files = { "config.json": "{}", "model.safetensors": small };
  hub.add("owner/count", files);
  faults.watch();
  await pullModel("owner/count");
  const steps = faults.changes.length;
  expect(steps).toBeGreaterThan(8);
  for (let i = 0; i < steps; i++)
    for (const kind of i % 3 === 0 ? ["kill", "EIO"] : ["kill"]) {
      const name = `step-${i}-${kind}`;
      hub.add(`owner/${name}`, files);
      if (kind === "kill") faults.killAt(i);
      else faults.failAt(i, kind);
      await failureOf(() => pullModel(`owner/${name}`)).catch(() => undefined);
      faults.watch();
      const hasRef = existsSync(join(cache, `models--owner--${name}`, "refs", "main"));
      const loaded = await failureOf(() => LanguageModel.load(`owner/${name}`));
      // refs/main is written last. If it exists, all files do, and loading fails only because the weights are random bytes.
      expect(loaded.code, `${name}: ${loaded.message}`).toBe(hasRef ? "INVALID_FILE" : "NOT_FOUND");
      const { path } = await pullModel(`owner/${name}`);
      expect(readFileSync(join(path, "model.safetensors")).equals(small.content)).toBe(true);
    }
});

test.each([
  ["hard links", true],
  ["copies", false],
])("a system without symbolic links gets %s", async (_, hardLinks) => {
  Object.assign(system, { links: false, hardLinks });
  try {
    hub.add("owner/windows", await modelFiles());
    faults.watch();
    const { path, files } = await pullModel("owner/windows");
    const copies = faults.changes.flatMap(({ name, path }) =>
      name === "file.sync" && /\/snapshots\/[^/]+\/\.link/.test(path) ? [path] : [],
    );
    expect(copies).toHaveLength(hardLinks ? 0 : files.length);
    const found = lstatSync(join(path, "model.safetensors"));
    expect({ isLink: found.isSymbolicLink(), names: found.nlink }).toEqual({ isLink: false, names: hardLinks ? 2 : 1 });
    await (await LanguageModel.load("owner/windows")).dispose();
    expect(await pullModel("owner/windows")).toMatchObject({ fetched: 0 });
  } finally {
    Object.assign(system, { links: true, hardLinks: true });
  }
});
