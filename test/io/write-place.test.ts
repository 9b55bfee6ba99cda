// Writing through links and to special files, keeping permissions, and removing stale temp files.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { writeText } from "../../lib/cli/terminal/output-file.ts";
import { leftIn, readTemporaryName, temporaryName } from "../../lib/core/temp-files.ts";
import { writeFileAtomically } from "../../lib/io/atomic-files.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { left } from "../helpers/left.ts";

const put = (path: string, text: string) => writeFileAtomically(path, (sink) => sink.write(Buffer.from(text)));

describe.skipIf(process.platform === "win32")("a written file", () => {
  test("goes to the target of a symbolic link, also on another disk or if the target does not exist", async () => {
    const folder = temporaryFolder();
    // A RAM disk if available.
    const elsewhere = existsSync("/dev/shm") ? join("/dev/shm", `heddle-${process.pid}`) : join(folder, "elsewhere");
    mkdirSync(elsewhere, { recursive: true });
    onTestFinished(() => rmSync(elsewhere, { recursive: true, force: true }));
    symlinkSync(elsewhere, join(folder, "there"));
    symlinkSync("there/file", join(folder, "link"));
    symlinkSync("link", join(folder, "second"));
    for (const text of ["new", "newer"]) {
      await put(join(folder, "second"), text);
      expect(readFileSync(join(elsewhere, "file"), "utf8")).toBe(text);
    }
    expect(readlinkSync(join(folder, "link"))).toBe("there/file");
    expect(lstatSync(join(folder, "second")).isSymbolicLink()).toBe(true);
    expect([readdirSync(folder).sort(), readdirSync(elsewhere)]).toEqual([["link", "second", "there"], ["file"]]);
    symlinkSync("round", join(folder, "round"));
    await expectError(
      () => put(join(folder, "round"), ""),
      "IO",
      /round: cannot be written: expected at most 40 symbolic links, got more$/,
    );
    symlinkSync("gone/file", join(folder, "astray"));
    await expectError(() => put(join(folder, "astray"), ""), "NOT_FOUND", /astray: cannot be created/);
  });

  test("keeps the permissions of the file that it replaces", async () => {
    const path = join(temporaryFolder(), "private");
    writeFileSync(path, "old");
    for (const mode of [0o600, 0o664, 0o444]) {
      chmodSync(path, mode);
      await put(path, String(mode));
      expect(statSync(path).mode & 0o777).toBe(mode);
      expect(readFileSync(path, "utf8")).toBe(String(mode));
    }
  });

  test("never replaces folders or devices, which are rejected before any work", async () => {
    const folder = temporaryFolder();
    let asked = false;
    const body = async () => {
      asked = true;
    };
    await expectError(() => writeFileAtomically(folder, body), "IO", /expected a regular file, got a folder$/);
    symlinkSync("/dev/null", join(folder, "null"));
    for (const path of ["/dev/null", join(folder, "null")])
      await expectError(() => writeFileAtomically(path, body), "IO", /null: .*expected a regular file, got a device$/);
    expect(asked).toBe(false);
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });

  test("can be a command's output, which replaces a regular file and is written in place to a device", async () => {
    const path = join(temporaryFolder(), "answers");
    writeFileSync(path, "old");
    await writeText(path, "new");
    expect(readFileSync(path, "utf8")).toBe("new");
    await writeText("/dev/null", "new");
    if (existsSync("/dev/full"))
      await expectError(() => writeText("/dev/full", "new"), "IO", /\/dev\/full: cannot be written: no space left/);
    await expectError(() => writeText(join(path, "x"), ""), "NOT_FOUND", /answers\/x: cannot be written/);
  });
});

test.skipIf(process.platform !== "linux")(
  "temp files of a dead process are recognized even if its process id is reused, as in restarted containers",
  async () => {
    const folder = temporaryFolder();
    const own = temporaryName(".file", ".tmp");
    expect(readTemporaryName(own)).toMatchObject({ stem: ".file", ending: ".tmp", ended: false });
    const before = own.replace(/-[0-9a-z]+(?=\.[0-9a-f]{8}\.tmp$)/, "-1");
    expect(readTemporaryName(before)).toMatchObject({ stem: ".file", ending: ".tmp", ended: true });
    // Names from versions that did not record the process start time.
    const older = [left(".file", ".tmp", process.ppid), left(".file", ".tmp")];
    expect(older.map((name) => readTemporaryName(name)?.ended)).toEqual([false, true]);
    for (const name of [own, before, ...older]) writeFileSync(join(folder, name), "");
    const found = await leftIn(folder, () => true);
    expect(found.map(({ path }) => path).sort()).toEqual([join(folder, before), join(folder, older[1]!)].sort());
  },
);
