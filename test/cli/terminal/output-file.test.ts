import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { needWritable } from "../../../lib/cli/terminal/output-file.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-output-file-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("accepts a new file and an existing file, which is not changed", async () => {
  const path = join(folder, "there.txt");
  await writeFile(path, "kept");
  await needWritable(path);
  await needWritable(join(folder, "new.txt"));
  expect(await readFile(path, "utf8")).toBe("kept");
});

test.each([
  ["", "INVALID_ARGUMENT", "output: expected the path of a file, got an empty one"],
  ["FOLDER", "IO", "FOLDER: cannot be written: expected a file, got a folder"],
  ["FOLDER/", "IO", "FOLDER/: cannot be written: expected a file, got a folder"],
  ["FOLDER/none/", "IO", "FOLDER/none/: cannot be written: expected a file, got a folder"],
  ["FOLDER/none/x", "NOT_FOUND", "FOLDER/none/x: cannot be written: no such file or folder"],
])("rejects the path %j", async (path, code, message) => {
  const given = path.replace("FOLDER", folder);
  await expect(needWritable(given)).rejects.toMatchObject({ code, message: message.replace("FOLDER", folder) });
});
