// A coverage-guided fuzzer for the TypeScript loaders, which libFuzzer cannot instrument. Files that reach new code are mutated further.
// test/fuzz/corpus/loaders has a corpus for each loader, with one base64-encoded file per line. HEDDLE_FUZZ_KEEP=1 adds to it.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Coverage } from "../coverage.ts";
import { generator } from "../generated-text.ts";
import { type Loader, loaders, survives } from "./loaders.ts";
import { damagedBytes, damagedText } from "./mutated.ts";

const corpora = fileURLToPath(new URL("../../fuzz/corpus/loaders", import.meta.url));
/** Maximum number and length of files in a corpus. */
const mostKept = 60;
const longestKept = 1024;

const packed = (name: string) => join(corpora, `${name}.txt`);

function corpus(name: string): Uint8Array[] {
  if (!existsSync(packed(name))) return [];
  const lines = readFileSync(packed(name), "latin1").split("\n").slice(0, -1);
  return lines.map((line) => Uint8Array.from(Buffer.from(line, "base64")));
}

function keep(name: string, found: Uint8Array[]): void {
  const room = mostKept - corpus(name).length;
  const kept = found.filter(({ length }) => length <= longestKept).slice(0, Math.max(0, room));
  appendFileSync(packed(name), kept.map((file) => `${Buffer.from(file).toString("base64")}\n`).join(""));
}

/** Makes a new file from the known ones. */
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

/** Minimum number of damaged files, however slow the machine is. */
const fewest = 100;

/** Tries files for the given time, and at least `fewest`. Throws with the bytes of the first file that the loader does not survive. */
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
    if (inputs % 64 === 0) await setImmediate(); // lets native memory of collected tokenizers be freed
    if (!coverage.take()) continue;
    known.push(file);
    found.push(file);
  }
  return { inputs, found, before, after: coverage.covered };
}

/** Declares a test for each loader that fuzzes it for `seconds`. */
export function describeFuzzing(seconds: number, seed: number): void {
  describe("fuzzed loaders", () => {
    let coverage: Coverage;
    beforeAll(() => {
      coverage = new Coverage();
    });
    afterAll(() => coverage.stop());
    for (const [name, loader] of Object.entries(loaders)) {
      it(`survive damage: ${name}`, { timeout: 60_000 + 10_000 * seconds }, async () => {
        const { inputs, found, before, after } = await fuzz(name, loader, coverage, 1000 * seconds, seed);
        console.log(`${name}: ${inputs} files, ${before} characters of code covered before fuzzing, ${after} after it`);
        expect(before).toBeGreaterThan(1000); // otherwise coverage is not recorded
        if (process.env.HEDDLE_FUZZ_KEEP) keep(name, found);
      });
    }
  });
}
