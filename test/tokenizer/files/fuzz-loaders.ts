// A fuzzer of the loaders in TypeScript, which libFuzzer does not see: files that reach new code are damaged further. What was worth
// keeping lies in test/fuzz/corpus/loaders; with HEDDLE_FUZZ_KEEP=1 a run adds to it.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Coverage } from "../coverage.ts";
import { generator } from "../generated-text.ts";
import { type Loader, loaders, survives } from "./loaders.ts";
import { damagedBytes, damagedText } from "./mutated.ts";

const corpora = fileURLToPath(new URL("../../fuzz/corpus/loaders", import.meta.url));
/** Files of a corpus: so many, and none longer. */
const mostKept = 60;
const longestKept = 1024;

function corpus(name: string): Uint8Array[] {
  const folder = join(corpora, name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((file) => new Uint8Array(readFileSync(join(folder, file))));
}

function keep(name: string, found: Uint8Array[]): void {
  const folder = join(corpora, name);
  mkdirSync(folder, { recursive: true });
  const room = mostKept - readdirSync(folder).length;
  for (const file of found.filter(({ length }) => length <= longestKept).slice(0, Math.max(0, room))) {
    writeFileSync(join(folder, createHash("sha1").update(file).digest("hex")), file);
  }
}

/** A file made of those that are known. */
function next(known: Uint8Array[], isText: boolean, random: () => number): Uint8Array {
  const pick = () => known[Math.floor(random() * known.length)]!;
  let file = pick();
  if (random() < 0.2) {
    const other = pick();
    file = Buffer.concat([
      file.subarray(0, Math.floor(random() * (file.length + 1))),
      other.subarray(Math.floor(random() * (other.length + 1))),
    ]);
  }
  if (file.length > 1 << 16) file = file.subarray(0, 1 << 16);
  return isText && random() < 0.8
    ? Buffer.from(damagedText(Buffer.from(file).toString(), random))
    : damagedBytes(file, random);
}

/** Damaged files that are tried however slow the machine is. */
const fewest = 100;

/** Tries files for so long, and `fewest` of them at least; throws what is wrong with the first that is no HeddleError, with its bytes. */
async function fuzz(
  name: string,
  { seeds, isText, load }: Loader,
  coverage: Coverage,
  milliseconds: number,
  seed: number,
) {
  const random = generator(seed);
  const known = [...seeds, ...corpus(name)];
  const attempt = (file: Uint8Array) =>
    survives(
      () => load(file),
      () => `${name}: ${Buffer.from(file).toString("base64")}`,
    );
  for (const file of known) attempt(file);
  coverage.take();
  const before = coverage.covered;
  const found: Uint8Array[] = [];
  let inputs = known.length;
  const end = performance.now() + milliseconds;
  for (let damaged = 0; performance.now() < end || damaged < fewest; damaged++) {
    const file = next(known, isText, random);
    attempt(file);
    inputs++;
    if (inputs % 64 === 0) await setImmediate(); // in between, what native code holds for tokenizers that are gone is given back
    if (!coverage.take()) continue;
    known.push(file);
    found.push(file);
  }
  return { inputs, found, before, after: coverage.covered };
}

/** @param seconds a loader */
export function describeFuzzing(seconds: number, seed: number): void {
  describe("loaders, fuzzed", () => {
    let coverage: Coverage;
    beforeAll(() => {
      coverage = new Coverage();
    });
    afterAll(() => coverage.stop());
    for (const [name, loader] of Object.entries(loaders)) {
      it(name, { timeout: 60_000 + 10_000 * seconds }, async () => {
        const { inputs, found, before, after } = await fuzz(name, loader, coverage, 1000 * seconds, seed);
        console.log(`${name}: ${inputs} files, ${before} characters of code, then ${after}`);
        expect(before).toBeGreaterThan(1000); // else the coverage sees nothing
        if (process.env.HEDDLE_FUZZ_KEEP) keep(name, found);
      });
    }
  });
}
