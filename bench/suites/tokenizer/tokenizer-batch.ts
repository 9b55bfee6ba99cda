// Compares batches on all threads with the fastest other package, and breaks down their time (`--only batch`).
import type { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { report } from "../../measure.ts";
import type { TokenizerPeer } from "../../peers/tokenizers.ts";
import { documents, prose } from "./tokenizer-texts.ts";
import { byteCount, inTurn, reportRates, rounded } from "./tokenizer-timing.ts";

export async function benchBatches(tokenizer: Tokenizer, all: TokenizerPeer[], rounds: number): Promise<void> {
  const texts = documents(prose().repeat(4), 4096);
  const megabytes = byteCount(texts) / 1e6;
  const peers = all.flatMap(({ name, encodeBatch }) => (encodeBatch ? [{ name, run: () => encodeBatch(texts) }] : []));
  const ours = { name: "heddle", run: () => tokenizer.encodeBatch(texts) };
  reportRates("batch prose cl100k", "MB", megabytes, await inTurn([ours, ...peers], rounds), "wall");
  let output: Uint32Array | undefined;
  const joined = async () => {
    const { ids } = await tokenizer.encodeBatchJoined(texts, output ? { output } : {});
    output = new Uint32Array(ids.buffer);
  };
  const again = await inTurn([{ name: "heddle", run: joined }, ...peers], rounds);
  reportRates("batch prose into one array cl100k", "MB", megabytes, again, "wall");
  await breakdown(tokenizer, texts, joined, rounds);
}

/**
 * Times the parts of a batch separately, interleaved with the whole. The JavaScript thread copies strings and ids and creates arrays. The
 * other threads encode one text after another.
 */
async function breakdown(
  tokenizer: Tokenizer,
  texts: string[],
  joined: () => Promise<void>,
  rounds: number,
): Promise<void> {
  const { ids, counts } = await tokenizer.encodeBatchJoined(texts);
  const into = new Uint32Array(Math.max(...counts));
  const copy = new Uint32Array(ids.length);
  const strings = Buffer.alloc(2 * Math.max(...texts.map((text) => text.length)));
  const timings = await inTurn(
    [
      { name: "all", run: () => tokenizer.encodeBatch(texts) },
      { name: "intoOneArray", run: joined },
      {
        name: "encodingOnOneThread",
        run: () => {
          for (const text of texts) tokenizer.encodeInto(text, into, { addSpecialTokens: false });
        },
      },
      {
        name: "copyOfStrings",
        run: () => {
          for (const text of texts) strings.write(text, "utf16le");
        },
      },
      { name: "copyOfIds", run: () => copy.set(ids) },
      {
        name: "arrays",
        run: () => {
          let at = 0;
          const lists: Uint32Array[] = [];
          for (const count of counts) {
            lists.push(ids.slice(at, at + count));
            at += count;
          }
          return lists;
        },
      },
    ],
    rounds,
  );
  report({
    name: "batch breakdown cl100k",
    unit: "milliseconds by the clock",
    megabytes: rounded(byteCount(texts) / 1e6),
    ...Object.fromEntries(timings.map(({ name, wall }) => [name, rounded(1000 * wall)])),
  });
}
