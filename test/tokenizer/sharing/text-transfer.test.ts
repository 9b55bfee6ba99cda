// Texts are copied to native code in parts of 2^18 units, and ids are copied back in parts of 2^17. Results must not depend on the
// borders between parts.
import { beforeAll, describe, expect, it, vi } from "vitest";
import { binding } from "../../../lib/binding/index.ts";
import type { NativeTokenizer } from "../../../lib/binding/tokenizer.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { apart, encodeTexts, given } from "../../../lib/tokenizer/text-transfer.ts";
import { failureOf } from "../../inference/helpers.ts";

const PART = 1 << 18;
const sentence = "The cat saw naïve café 日本 😀😀 and 17 dogs.\n";
/** Returns a text of `units` UTF-16 units. A surrogate pair crosses the first border between two parts. */
const long = (units: number) => `${"x".repeat(PART - 1)}😀${sentence.repeat(units / sentence.length)}`.slice(0, units);

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await Tokenizer.train([sentence], { vocabSize: 290 });
});

describe("encodeBatch", () => {
  it("equals encode for texts of any lengths in one batch", async () => {
    const short = Array.from({ length: 3000 }, (_, i) => `${sentence.slice(0, i % 40)} ${i}`);
    for (const texts of [
      [long(3 * PART + 5)],
      ["", long(PART), "", long(PART + 1), "a", "", long(2 * PART), "b"],
      [...short, long(PART + 77), ...short, long(2 * PART - 1)],
      [long(PART - 1), "z", long(PART - 1)],
      [],
      [""],
    ]) {
      const lists = await tokenizer.encodeBatch(texts);
      expect(lists).toHaveLength(texts.length);
      for (const [i, text] of texts.entries())
        expect(Buffer.from(tokenizer.encode(text)).equals(Buffer.from(lists[i]!)), `text ${i}`).toBe(true);
    }
  });

  it("finds a forbidden token in the middle of a long text", async () => {
    const special = await Tokenizer.train([sentence], { vocabSize: 290, specialTokens: ["<|end|>"] });
    const options = { forbidSpecial: true } as const;
    await special.encodeBatch([long(2 * PART)], options);
    const text = `${long(2 * PART)}<|end|>${long(PART)}`;
    expect(await failureOf(() => special.encodeBatch(["a", text], options))).toEqual({
      code: "INVALID_ARGUMENT",
      message: 'texts[1]: expected no forbidden special token, got "<|end|>"',
    });
  });
});

describe.each([
  ["encodeAsync", (text: string, signal?: AbortSignal) => tokenizer.encodeAsync(text, { signal })],
  [
    "encodeBatch",
    async (text: string, signal?: AbortSignal) => (await tokenizer.encodeBatch(["a", text], { signal }))[1],
  ],
] as const)("%s", (_, encoded) => {
  it("rejects or completes, whenever its signal is aborted", async () => {
    const text = long(16 * PART);
    for (const wait of [0, 1, 2, 4, 8, 16, 32]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), wait);
      const outcome = await encoded(text, controller.signal).then(
        () => "done",
        ({ code }) => code,
      );
      expect(["ABORTED", "done"]).toContain(outcome);
      if (wait === 0) expect(outcome).toBe("ABORTED");
    }
    expect(await encoded("a cat", undefined)).toEqual(tokenizer.encode("a cat"));
  });
});

describe("encodeBatchJoined", () => {
  it("fills an output of any buffer type, and allocates a new array if the output is detached", async () => {
    const texts: string[] = Array(2000).fill(sentence);
    const { ids } = await tokenizer.encodeBatchJoined(texts);
    const bytes = ids.byteLength;
    for (let round = 0; round < 4; round++) {
      for (const Room of [ArrayBuffer, SharedArrayBuffer] as (new (
        n: number,
        o?: object,
      ) => ArrayBuffer)[])
        for (const options of [undefined, { maxByteLength: 2 * bytes }]) {
          const output = new Uint32Array(new Room(bytes, options));
          expect((await tokenizer.encodeBatchJoined(texts, { output })).ids).toBe(output);
        }
      const output = new Uint32Array(ids.length);
      structuredClone(null, { transfer: [output.buffer] });
      expect((await tokenizer.encodeBatchJoined(texts, { output })).ids).toEqual(ids);
    }
  });

  it("rejects an output that is detached while it is being filled", async () => {
    const text = long(16 * PART);
    const output = new Uint32Array(tokenizer.count(text));
    output.subarray = (begin, end) => {
      const room = new Uint32Array(output.buffer, 4 * begin!, end! - begin!);
      structuredClone(null, { transfer: [output.buffer] });
      return room;
    };
    const failure = await failureOf(() => tokenizer.encodeBatchJoined([text], { output }));
    expect(failure).toEqual({
      code: "INVALID_ARGUMENT",
      message: "output: expected an array that stays attached while it is filled, got an array of 0 numbers",
    });
  });
});

describe("many texts", () => {
  it("are copied in batches, however short they are", () => {
    const parts: number[] = [];
    const read = (strings: readonly string[]) => void parts.push(strings.length);
    for (const _ of given({ read }, Array(100_000).fill("")));
    expect(parts.reduce((sum, count) => sum + count)).toBe(100_000);
    expect(Math.max(...parts)).toBeLessThanOrEqual(PART / 16);
    let pauses = 0;
    for (const _ of apart({ ids: new Uint32Array(0), counts: new Uint32Array(300_000) })) pauses++;
    expect(pauses).toBeGreaterThan(1);
  });

  it("are announced to native code as at most 2^32 − 1 units", async () => {
    const texts = Array(65_600).fill("x".repeat(1 << 16));
    const told: number[] = [];
    const batch = {
      expect: (units: number) => void told.push(units),
      read() {},
      run: () => ({ promise: Promise.resolve(new Uint32Array(texts.length)), cancel() {} }),
      takeIds: () => 0,
      takeOffsets: () => 0,
      close() {},
    };
    await encodeTexts(batch, texts, { signal: undefined });
    expect(told).toEqual([2 ** 32 - 1]);
  });
});

describe("encodeWithOffsetsAsync", () => {
  it("equals encodeWithOffsets", async () => {
    const text = long(3 * PART + 9);
    const now = tokenizer.encodeWithOffsets(text);
    const later = await tokenizer.encodeWithOffsetsAsync(text);
    for (const name of ["ids", "offsets"] as const)
      expect(Buffer.from(now[name]).equals(Buffer.from(later[name])), name).toBe(true);
  });
});

describe("train", () => {
  it("learns the same vocabulary from one long text and from its lines", async () => {
    const text = Array.from({ length: 40_000 }, (_, i) => `${sentence} ${(i * 7919) % 1000}`).join("\n");
    expect(text.length).toBeGreaterThan(5 * PART);
    const whole = await Tokenizer.train([text], { vocabSize: 600 });
    // Split between words, at positions other than the part borders.
    const lines = text.split(/(?<=\n)(?=The)/);
    const apart = await Tokenizer.train(lines, { vocabSize: 600 });
    const names = (of: Tokenizer) => Array.from({ length: of.vocabSize }, (_, id) => of.idToToken(id));
    expect(names(whole)).toEqual(names(apart));
  });
});

describe("NativeTrainer", () => {
  const trainerOf = () => new binding.NativeTrainer(Uint32Array.of(0, 0, 1), []);

  it("drops texts that were read but not fed", async () => {
    const trainer = trainerOf();
    trainer.read(["cat cat cat"], false);
    trainer.forget();
    expect(() => trainer.read(["s"], true)).toThrowError(/texts: expected a text to continue, got none/u);
    await trainer.feed(1).promise;
    expect(await trainer.trainBytes(10, 1).promise).toHaveLength(0);
  });

  it("drops its texts if training is aborted", async () => {
    let forgotten = 0;
    class Watched extends binding.NativeTrainer {
      override forget() {
        forgotten++;
        super.forget();
      }
    }
    const trainers = vi.spyOn(binding, "NativeTrainer", "get").mockReturnValue(Watched);
    const controller = new AbortController();
    const texts = [long(16 * PART), long(16 * PART)];
    const onProgress = () => setImmediate(() => controller.abort());
    const training = Tokenizer.train(texts, { vocabSize: 290, signal: controller.signal, onProgress });
    await expect(training).rejects.toMatchObject({ code: "ABORTED" });
    trainers.mockRestore();
    expect(forgotten).toBe(1);
  });

  it("rejects re-entrant calls while it reads", () => {
    const trainer = trainerOf();
    trainer.read(["a"], false);
    for (const call of [() => trainer.feed(1), () => trainer.forget(), () => trainer.read(["a"], false)]) {
      const texts = Object.defineProperty([], 0, { get: call });
      expect(() => trainer.read(texts, true)).toThrowError(
        /texts: expected no call while the texts are read, got one/u,
      );
    }
    trainer.read(["b"], true);
  });
});

describe("NativeBatch", () => {
  const batchOf = () => new binding.NativeBatch((tokenizer as unknown as { native: NativeTokenizer }).native, 0);

  it("enforces the order read, run once, take, close", async () => {
    const batch = batchOf();
    const room = new Uint32Array(8);
    expect(() => batch.read(["a"], true)).toThrowError(/texts: expected a text to continue, got none/u);
    expect(() => batch.takeIds(room)).toThrowError(/batch: results are available only after a successful run/u);
    batch.read(["ca"], false);
    batch.read(["t", "dog"], true);
    const running = batch.run();
    for (const call of [() => batch.read(["a"], false), () => batch.run(), () => batch.expect(3)])
      expect(call).toThrowError(/batch: this batch has already run or was closed/u);
    expect(() => batch.takeIds(room)).toThrowError(/batch: results are available only after a successful run/u);
    batch.close(); // the job keeps its data alive
    const counts = await running.promise;
    const ids = ["cat", "dog"].map((text) => [...tokenizer.encode(text, { addSpecialTokens: false })]);
    expect([...counts]).toEqual(ids.map(({ length }) => length));
    const taken: number[] = [];
    for (const size of [0, 1, 2, 8, 8]) taken.push(...room.subarray(0, batch.takeIds(room.subarray(0, size))));
    expect(taken).toEqual(ids.flat());
    expect(batch.takeOffsets(room)).toBe(0);
    batch.close();
    batch.close();
    expect(() => batch.takeIds(room)).toThrowError(/batch: results are available only after a successful run/u);
  });

  it("rejects re-entrant calls while it reads", async () => {
    const batch = batchOf();
    batch.read(["a"], false);
    for (const call of [() => batch.run(), () => batch.close(), () => batch.read(["a"], false)]) {
      const texts = Object.defineProperty([], 0, { get: call });
      expect(() => batch.read(texts, true)).toThrowError(/texts: expected no call while the texts are read, got one/u);
    }
    expect(await batch.run().promise).toHaveLength(1);
    batch.close();
  });

  it("has no results after a cancelled run", async () => {
    const batch = batchOf();
    batch.read([long(8 * PART)], false);
    const job = batch.run();
    job.cancel();
    await expect(job.promise).rejects.toMatchObject({ code: "ABORTED" });
    expect(() => batch.takeIds(new Uint32Array(1))).toThrowError(
      /batch: results are available only after a successful run/u,
    );
    batch.close();
  });
});
