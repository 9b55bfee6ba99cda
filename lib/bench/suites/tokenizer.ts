import { loadTokenizerOf } from "../../language-model/load.ts";
import { Random } from "../../lifecycle/recipe/random.ts";
import { story } from "../../lifecycle/recipe/stories.ts";
import type { BenchSuite } from "../types.ts";

/** Encoding and decoding of English prose in documents of a few kilobytes, on one thread. */
export const tokenizerSuite: BenchSuite = async function* ({ model = "default", quick }) {
  const tokenizer = await loadTokenizerOf(model);
  const random = new Random(1);
  const documents: string[] = [];
  let bytes = 0;
  while (bytes < (quick ? 4096 : 2 ** 20)) {
    const document = Array.from({ length: 4 }, () => story(random)).join("\n\n");
    documents.push(document);
    bytes += Buffer.byteLength(document);
  }
  const ids = documents.map((text) => tokenizer.encode(text));
  const cases: [name: string, work: () => void][] = [
    ["tokenizer encode prose", () => documents.forEach((text) => void tokenizer.encode(text))],
    ["tokenizer count prose", () => documents.forEach((text) => void tokenizer.count(text))],
    ["tokenizer decode prose", () => ids.forEach((of) => void tokenizer.decode(of))],
  ];
  for (const [name, work] of cases)
    yield {
      name,
      unit: "MB/s",
      work: bytes / 1e6,
      async run() {
        const start = performance.now();
        work();
        return (performance.now() - start) / 1000;
      },
    };
};
