// Chat templates in separate files, in folders and in GGUF files.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { familyGoldens, writeFamily } from "../golden/families.ts";
import { byteLevelJson } from "../tokenizer/samples.ts";

const golden = familyGoldens.find(({ config }) => Number(config.vocab_size) >= 256) ?? familyGoldens[0]!;

/** Writes a folder as transformers saves a tokenizer with several templates. */
async function makeFolder(): Promise<string> {
  const vocabulary = { vocab_size: 257, tie_word_embeddings: true };
  const weights = Object.entries(golden.weights).filter(([name]) => !/lm_head/.test(name));
  const resized = weights.map(([name, [rows, ...rest]]) => [name, [/embed_tokens/.test(name) ? 257 : rows!, ...rest]]);
  const config = { ...golden.config, ...vocabulary };
  const folder = await writeFamily({ config, weights: Object.fromEntries(resized) }, temporaryFolder());
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(byteLevelJson([])));
  writeFileSync(join(folder, "chat_template.jinja"), "usual");
  mkdirSync(join(folder, "additional_chat_templates"));
  writeFileSync(join(folder, "additional_chat_templates", "tool_use.jinja"), "with tools");
  writeFileSync(join(folder, "additional_chat_templates", "notes.txt"), "no template");
  return folder;
}

describe("the templates in additional_chat_templates", () => {
  const said = async (path: string) => {
    const tokenizer = await Tokenizer.load(path);
    const render = (options: object) => tokenizer.applyChatTemplate([{ role: "user", content: "" }], options).text;
    return [render({}), render({ tools: [{}] }), render({ template: "tool_use" })];
  };
  const wanted = ["usual", "with tools", "with tools"];

  test("are read, and keep their names in GGUF and in folders", async () => {
    const folder = await makeFolder();
    expect(await said(folder)).toEqual(wanted);
    const file = join(temporaryFolder(), "m.gguf");
    await convertModel(folder, file);
    expect(await said(file)).toEqual(wanted);
    for (const input of [folder, file]) {
      const output = temporaryFolder();
      await convertModel(input, output, { to: "safetensors", dtype: "f32" });
      expect(await said(output)).toEqual(wanted);
    }
  });
});
