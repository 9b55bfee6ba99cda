// Compares tokenizers in megabytes of UTF-8 per second of CPU time (all threads of the process) and of wall-clock time, as medians of
// interleaved rounds. Vocabularies and peers are npm packages, if installed: see bench/peers/tokenizers.ts.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Device } from "../../../lib/graph/index.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { median, report } from "../../measure.ts";
import {
  loadOnce,
  type TokenizerPeer,
  tokenizerLoaders,
  tokenizerPeers,
  type Vocabulary,
} from "../../peers/tokenizers.ts";
import { llamaCppPeer } from "../../peers/tokenizers-llama.ts";
import { benchBatches } from "./tokenizer-batch.ts";
import { cjk, code, documents, llama2Vocabulary, packagedVocabulary, prose } from "./tokenizer-texts.ts";
import { byteCount, inTurn, reportRates, rounded, type Timing } from "./tokenizer-timing.ts";

const files: Record<Vocabulary, () => string | undefined> = {
  cl100k: () => packagedVocabulary("tokenizer-gpt35turbo"),
  llama3: () => packagedVocabulary("tokenizer-llama3"),
  qwen3: () => packagedVocabulary("tokenizer-qwen3"),
  llama2: llama2Vocabulary,
};

export async function benchTokenizer(
  _: Device,
  { rounds = 7, peers: withPeers = true, only = "" } = {},
): Promise<void> {
  const wanted = (name: string) => name.includes(only);
  const opened = new Map<Vocabulary, { tokenizer: Tokenizer; peers: TokenizerPeer[] }>();
  const open = async (vocabulary: Vocabulary) => {
    const file = files[vocabulary]();
    if (file && !opened.has(vocabulary)) {
      const peers = withPeers ? tokenizerPeers(vocabulary, file) : [];
      if (withPeers && (vocabulary === "llama3" || vocabulary === "qwen3")) {
        const llama = await llamaCppPeer(file);
        if (llama) peers.push(llama);
        else
          report({
            name: `encode prose ${vocabulary}`,
            without: "node-llama-cpp, which HEDDLE_BENCH_LLAMA does not name",
          });
      }
      opened.set(vocabulary, { tokenizer: await Tokenizer.load(file), peers });
    }
    if (!file) report({ name: vocabulary, skipped: "its tokenizer.json is not installed" });
    return opened.get(vocabulary);
  };
  const each = async (texts: readonly string[], work: (text: string) => unknown) => {
    for (const text of texts) await work(text);
  };

  /** @param into a reused array to encode into. `encode` creates an array per text, which takes half of a short text's time */
  const encodeRow = async (
    name: string,
    vocabulary: Vocabulary,
    makeTexts: () => string[],
    units?: "strings",
    into?: Uint32Array,
  ) => {
    const row = `encode ${name} ${vocabulary}`;
    if (!wanted(row)) return;
    const both = await open(vocabulary);
    if (!both) return;
    const texts = makeTexts();
    const { tokenizer } = both;
    // Synchronous peers are called without await, which would take longer than encoding a short text.
    const run = (peer: TokenizerPeer) =>
      peer.name.startsWith("tokenizers ")
        ? () => each(texts, (text) => peer.encode(text))
        : () => {
            for (const text of texts) peer.encode(text);
          };
    const options = { addSpecialTokens: false };
    const ours = () => {
      if (into) for (const text of texts) tokenizer.encodeInto(text, into, options);
      else for (const text of texts) tokenizer.encode(text, options);
    };
    const contenders = both.peers.map((peer) => ({ name: peer.name, run: run(peer) }));
    await sameIds(row, both, texts, options);
    const timings = await inTurn([{ name: "heddle", run: ours }, ...contenders], rounds);
    if (units) reportRates(row, "strings", texts.length, timings);
    else reportRates(row, "MB", byteCount(texts) / 1e6, timings);
  };
  await encodeRow("prose", "cl100k", () => documents(prose(), 4096));
  await encodeRow("code", "cl100k", () => documents(code(), 4096));
  await encodeRow("CJK", "cl100k", () => documents(cjk(), 4096));
  await encodeRow("prose", "llama3", () => documents(prose(), 4096));
  await encodeRow("prose", "qwen3", () => documents(prose(), 4096));
  await encodeRow("prose", "llama2", () => documents(prose(), 4096));
  const short = () => documents(prose(), 100).slice(0, 5000);
  await encodeRow("100 characters", "cl100k", short, "strings");
  await encodeRow("100 characters into one array", "cl100k", short, "strings", new Uint32Array(1024));

  if (wanted("adversarial")) await adversarial(await open("cl100k"), rounds);

  if (wanted("decode")) {
    const both = await open("cl100k");
    if (both) {
      const texts = documents(prose(), 4096);
      const lists = texts.map((text) => both.tokenizer.encode(text));
      const all = (decode: (ids: Uint32Array) => string) => () => {
        for (const ids of lists) decode(ids);
      };
      const peers = both.peers.flatMap(({ name, decode }) => (decode ? [{ name, run: all(decode) }] : []));
      const ours = { name: "heddle", run: all((ids) => both.tokenizer.decode(ids)) };
      reportRates("decode bulk cl100k", "MB", byteCount(texts) / 1e6, await inTurn([ours, ...peers], rounds));
      await streaming(both.tokenizer, lists, rounds);
    }
  }

  if (wanted("batch")) {
    const both = await open("cl100k");
    if (both) await benchBatches(both.tokenizer, both.peers, Math.min(rounds, 5));
  }

  if (wanted("offsets")) {
    const both = await open("cl100k");
    if (both) {
      const texts = documents(prose(), 4096);
      const ours = {
        name: "heddle",
        run: () => {
          for (const text of texts) both.tokenizer.encodeWithOffsets(text);
        },
      };
      const peers = both.peers.flatMap(({ name, encodeWithOffsets }) =>
        encodeWithOffsets ? [{ name, run: () => each(texts, encodeWithOffsets) }] : [],
      );
      const timings = await inTurn([ours, ...peers], Math.min(rounds, 5));
      reportRates("offsets prose cl100k", "MB", byteCount(texts) / 1e6, timings);
    }
  }

  for (const vocabulary of ["cl100k", "llama3"] as const)
    if (wanted(`ten worker threads ${vocabulary}`)) threads(vocabulary, Math.min(rounds, 3));

  for (const vocabulary of ["cl100k", "llama3"] as const) {
    if (!wanted(`load ${vocabulary}`)) continue;
    const file = files[vocabulary]();
    if (!file) continue;
    // Use a copy, because the cache is written next to the file. Both are read once, so that they are in the page cache.
    const folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
    const copy = join(folder, "tokenizer.json");
    writeFileSync(copy, readFileSync(file));
    loadOnce("heddle, cached", copy);
    const names = ["heddle", "heddle, cached", ...(withPeers ? tokenizerLoaders : [])];
    const outcomes = names.map(() => [] as ReturnType<typeof loadOnce>[]);
    for (let round = 0; round < rounds; round++) {
      for (const [i, name] of names.entries()) outcomes[i]!.push(loadOnce(name, copy));
    }
    rmSync(folder, { recursive: true });
    const loading = outcomes.map((all) => median(all.map((outcome) => outcome.loading)));
    report({
      name: `load ${vocabulary}`,
      unit: "milliseconds, in a fresh process",
      ...Object.fromEntries(names.map((name, i) => [name, rounded(loading[i]!)])),
      importHeddle: rounded(median(outcomes[0]!.map((outcome) => outcome.importing))),
      ...(names.length > 2 && {
        ratio: rounded(Math.min(...loading.slice(2)) / loading[0]!),
        ratioCached: rounded(Math.min(...loading.slice(2)) / loading[1]!),
      }),
    });
  }
}

/** Reports the peers whose ids differ from heddle's for some texts, because their figures are not comparable. */
async function sameIds(
  name: string,
  { tokenizer, peers }: { tokenizer: Tokenizer; peers: TokenizerPeer[] },
  texts: readonly string[],
  options: { addSpecialTokens: boolean },
): Promise<void> {
  const some = texts.filter((_, i) => i % Math.ceil(texts.length / 20) === 0);
  const without: string[] = [];
  for (const peer of peers) {
    for (const text of some) {
      // The official library adds the special tokens around a text.
      const addSpecialTokens = peer.name.startsWith("tokenizers ");
      // Some peers encode text like Llama 2's <unk> as text, others as the special token.
      const expected = [false, true].map((allowSpecial) =>
        tokenizer.encode(text, { ...options, addSpecialTokens, allowSpecial }).join(),
      );
      if (!expected.includes(Uint32Array.from(await peer.encode(text)).join())) {
        without.push(peer.name);
        break;
      }
    }
  }
  if (without.length > 0) report({ name, otherIdsThanHeddle: without });
}

/** Measures the memory of one tokenizer in ten worker threads, and the part that each further thread adds. */
function threads(vocabulary: Vocabulary, rounds: number): void {
  const file = files[vocabulary]();
  if (!file) return;
  const script = fileURLToPath(new URL("tokenizer-threads.mjs", import.meta.url));
  const runs = Array.from({ length: rounds }, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--expose-gc", script, file, "10"], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`tokenizer-threads.mjs: ${stderr}`);
    return JSON.parse(stdout) as { before: number; one: number; all: number };
  });
  report({
    name: `ten worker threads ${vocabulary}`,
    unit: "MB resident beyond the threads without it",
    one: rounded(median(runs.map(({ before, one }) => one - before))),
    ten: rounded(median(runs.map(({ before, all }) => all - before))),
    eachFurther: rounded(median(runs.map(({ one, all }) => (all - one) / 9))),
  });
}

/** Encodes a megabyte without word boundaries. Peers that take quadratic time are left out. */
async function adversarial(both: { tokenizer: Tokenizer; peers: TokenizerPeer[] } | undefined, rounds: number) {
  if (!both) return;
  const letters = prose()
    .replace(/[^a-zA-Z]/gu, "")
    .toLowerCase();
  const texts = { "of one letter": "a".repeat(1 << 20), "without spaces": letters.repeat(2).slice(0, 1 << 20) };
  for (const [name, text] of Object.entries(texts)) {
    const linear = both.peers.filter((peer) => peer.name.startsWith("tokenizers "));
    const ours = { name: "heddle", run: () => both.tokenizer.encode(text) };
    const timings = await inTurn([ours, ...linear.map((p) => ({ name: p.name, run: () => p.encode(text) }))], rounds);
    const milliseconds = Object.fromEntries(timings.map((t) => [t.name, rounded(1000 * t.cpu)]));
    report({ name: `adversarial megabyte ${name} cl100k`, unit: "CPU milliseconds", ...milliseconds });
  }
}

/** Decodes one token at a time, compared with a lookup in an array of strings. */
async function streaming(tokenizer: Tokenizer, lists: Uint32Array[], rounds: number) {
  const ids = lists.flatMap((list) => [...list]);
  const decoder = tokenizer.decoder();
  const table: string[] = [];
  for (const id of ids) table[id] = tokenizer.decode([id]);
  let length = 0;
  const push = () => {
    for (let i = 0; i < ids.length; i++) length += decoder.push(ids[i]!).length;
  };
  const look = () => {
    for (let i = 0; i < ids.length; i++) length += table[ids[i]!]!.length;
  };
  const [ours, floor] = await inTurn(
    [
      { name: "heddle", run: push },
      { name: "table", run: look },
    ],
    rounds,
  );
  const nanoseconds = (t: Timing) => rounded((1e9 * t.cpu) / ids.length);
  report({
    name: "decode one token cl100k",
    unit: "ns",
    heddle: nanoseconds(ours!),
    arrayLookUp: nanoseconds(floor!),
    length,
  });
}
