// What a file that was named as a model is, where it is none.
import { describe, test } from "vitest";
import { openModelFiles } from "../../lib/formats/model-files.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { LanguageModel } from "../../lib/generate/index.ts";
import { expectError, safetensors, temporaryFile, temporaryFolder } from "./helpers.ts";

describe("a file of neither kind says so", () => {
  test.each<[string, string | Uint8Array, RegExp]>([
    ["a text", "# Notes\nnothing here", /expected a GGUF or safetensors file, got a text that begins with "# Notes"$/],
    ["a page", "<!DOCTYPE html><html>…</html>", /got a text that begins with "<!DOCTYPE html>/],
    [
      "a pointer of Git LFS",
      "version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 12345678\n",
      /expected a GGUF or safetensors file, got a pointer of Git LFS, without the file that it stands for/,
    ],
    [
      "numbers",
      Uint8Array.from({ length: 64 }, (_, i) => 255 - i),
      /expected a GGUF or safetensors file, got neither$/,
    ],
    ["a pickle in a zip", Buffer.from("PK\x03\x04\x00\x00\x08\x08\x00\x00\x00", "latin1"), /got neither$/],
  ])("%s", async (_name, bytes, message) => {
    const path = temporaryFile(bytes);
    await expectError(() => openWeights(path), "INVALID_FILE", message);
    await expectError(() => openModelFiles(path), "INVALID_FILE", message);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["safetensors with a length that is wrong", safetensors("{}", new Uint8Array(), 10n ** 9n), /header length/],
    ["a few bytes", Buffer.from("abc"), /at least 8 bytes, got 3/],
    ["nothing", new Uint8Array(), /at least 8 bytes, got 0/],
  ])("%s: what is wrong with it", async (_name, bytes, message) => {
    await expectError(() => openWeights(temporaryFile(bytes)), "INVALID_FILE", message);
  });
});

test("a model named as on a hub is not downloaded, and that is said", async () => {
  const said = /no such file or folder \(nothing is downloaded: name a model that is on this machine\)$/;
  await expectError(() => LanguageModel.load("meta-llama/Llama-3-8B"), "NOT_FOUND", said);
  for (const path of ["./models/llama", "/models/llama", "llama", `${temporaryFolder()}/llama`])
    await expectError(() => openWeights(path), "NOT_FOUND", /cannot be opened: no such file or folder$/);
});
