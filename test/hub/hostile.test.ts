// Servers that send wrong lists, commits or redirects, or lists without an end.
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { pullModel } from "../../lib/index.ts";
import { failureOf } from "../inference/helpers.ts";
import { bytes, cache, hub, root } from "./helpers.ts";
import { fail, json, redirect } from "./hub-server.ts";

function add(name: string): string {
  return hub.add(`owner/${name}`, { "config.json": "{}", "model.safetensors": { content: bytes(1000), lfs: true } });
}

describe("a hostile server", () => {
  const entry = (change: object) => ({ type: "file", path: "config.json", size: 2, oid: "a".repeat(40), ...change });

  test.each<[string, object, RegExp]>([
    [
      "leaves the folder",
      entry({ path: "../../../evil" }),
      /expected paths inside the repository, got "\.\.\/\.\.\/\.\.\/evil"$/,
    ],
    ["is absolute", entry({ path: "/etc/passwd" }), /expected paths inside the repository/],
    ["leaves the folder on Windows", entry({ path: "..\\evil" }), /expected paths inside the repository/],
    ["names a drive", entry({ path: "C:evil" }), /expected paths inside the repository/],
    ["has an empty part", entry({ path: "a//b" }), /expected paths inside the repository/],
    ["has a number as its path", entry({ path: 7 }), /expected paths inside the repository, got 7$/],
    ["has a digest that is a path", entry({ oid: "../../../../evil" }), /expected a digest of config\.json$/],
    [
      "has a large digest that is a path",
      entry({ lfs: { oid: "../evil", size: 1 } }),
      /expected a digest of config\.json$/,
    ],
    ["has a negative size", entry({ size: -1 }), /expected a size of config\.json, got -1$/],
    ["has no size", entry({ size: undefined }), /expected a size of config\.json/],
  ])("is refused when a file's entry %s", async (_, file, message) => {
    add("hostile");
    hub.hook = (request, response) => {
      if (!request.url!.includes("/tree/")) return false;
      json(response, [file]);
      return true;
    };
    expect(await failureOf(() => pullModel("owner/hostile"))).toEqual({
      code: "INVALID_FILE",
      message: expect.stringMatching(message),
    });
    expect(await readdir(cache)).toEqual([]);
    expect(existsSync(join(root, "evil"))).toBe(false);
  });

  test.each<[string, (response: ServerResponse) => void, RegExp]>([
    ["a commit that is a path", (r) => json(r, { sha: "../../evil" }), /expected a commit of 40 hexadecimal digits$/],
    ["no JSON", (r) => r.end("<html>"), /expected an answer of the Hub's API in JSON/],
    [
      "an endless redirect",
      (r) => redirect(r, `${hub.endpoint}/api/models/owner/answers/revision/main?more`),
      /expected at most 8 redirects$/,
    ],
    [
      "a redirect with a password",
      (r) => redirect(r, "https://me:hunter2@storage.example/file?signature=s3cret"),
      /: expected a redirect to a URL without a name and password, got "https:\/\/storage\.example\/file"$/,
    ],
    [
      "a redirect to ftp with a signature",
      (r) => redirect(r, "ftp://me:hunter2@storage.example/file?signature=s3cret"),
      /: expected a redirect to https, got "ftp:\/\/storage\.example\/file"$/,
    ],
    [
      "a redirect to an invalid URL",
      (r) => redirect(r, "https://me:hunter2@[storage/?signature=s3cret"),
      /: expected a redirect to https, got "an invalid URL"$/,
    ],
    ["a redirect to a file", (r) => redirect(r, "file:///etc/passwd"), /expected a redirect to https, got "file:/],
    ["a redirect to nowhere", (r) => r.writeHead(302).end(), /expected a redirect with a Location header$/],
  ])("is refused when it answers with %s", async (_, answer, message) => {
    add("answers");
    hub.hook = (_, response) => {
      answer(response);
      return true;
    };
    expect(await failureOf(() => pullModel("owner/answers"))).toEqual({
      code: "INVALID_FILE",
      message: expect.stringMatching(message),
    });
    expect(await readdir(cache)).toEqual([]);
  });

  test("is rejected if the next page of its list is on another server", async () => {
    add("pages");
    const other = { asked: false };
    hub.hook = (request, response, where) => {
      if (where === "storage") other.asked = true;
      if (!request.url!.includes("/tree/")) return false;
      json(response, [entry({})], { link: '<http://127.0.0.1:1/api/next>; rel="next"' });
      return true;
    };
    expect((await failureOf(() => pullModel("owner/pages"))).message).toMatch(
      /expected a next page of the list below this address/,
    );
    expect(other.asked).toBe(false);
  });

  test("is rejected if its list is an endless series of pages without files", async () => {
    add("endless");
    let pages = 0;
    hub.hook = (request, response) => {
      if (!request.url!.includes("/tree/")) return false;
      if (++pages > 1000) fail(response, 418);
      else
        json(response, [], {
          link: `<${hub.endpoint}/api/models/owner/endless/tree/main?cursor=${pages}>; rel="next"`,
        });
      return true;
    };
    expect(await failureOf(() => pullModel("owner/endless"))).toEqual({
      code: "INVALID_FILE",
      message: expect.stringMatching(/expected a list of at most 400 pages$/),
    });
    expect(pages).toBe(400);
  });

  test("is refused when its list has too many folders", async () => {
    add("folders");
    hub.hook = (request, response) => {
      if (!request.url!.includes("/tree/")) return false;
      const folders = Array.from({ length: 100_001 }, (_, i) => ({ type: "directory", path: `f${i}` }));
      json(response, folders);
      return true;
    };
    expect(await failureOf(() => pullModel("owner/folders"))).toEqual({
      code: "INVALID_FILE",
      message: expect.stringMatching(/expected at most 100000 files and folders$/),
    });
  });

  test("is given up if its list arrives a few bytes at a time, and takes too long", async () => {
    add("trickle");
    process.env.HF_HUB_DOWNLOAD_TIMEOUT = "0.2";
    hub.hook = (request, response) => {
      if (!request.url!.includes("/tree/")) return false;
      response.writeHead(200, { "content-type": "application/json" });
      let left = 100;
      const timer = setInterval(() => (left-- > 0 ? response.write(" ") : response.end("[]")), 30);
      response.once("close", () => clearInterval(timer));
      return true;
    };
    expect(await failureOf(() => pullModel("owner/trickle"))).toEqual({
      code: "IO",
      message: expect.stringMatching(/\/tree\/[0-9a-f]+: expected a whole answer within 0\.8 s, got \d+ bytes$/),
    });
  });
});
