// Texts cross to native code in parts of 2^18 units, and ids come back in parts of 2^17: neither shows.
import { beforeAll, describe, expect, it, vi } from "vitest";
import { binding } from "../../../lib/binding/index.ts";
import type { NativeTokenizer } from "../../../lib/binding/tokenizer.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { apart, encodeTexts, given } from "../../../lib/tokenizer/text-transfer.ts";
import { failureOf } from "../../inference/helpers.ts";

const PART = 1 << 18;
const sentence = "The cat saw naïve café 日本 😀😀 and 17 dogs.\n";
/** Of that many units; a pair of surrogates lies across the first border of two parts. */
const long = (units: number) => `${"x".repeat(PART - 1)}😀${sentence.repeat(units / sentence.length)}`.slice(0, units);

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await Tokenizer.train([sentence], { vocabSize: 290 });
});

describe("encodeBatch", () => {
  it("gives what encode gives, whatever the lengths of the texts beside each other", async () => {
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

  it("finds what is forbidden in the midst of a long text", async () => {
    const special = await Tokenizer.train([sentence], { vocabSize: 290, specialTokens: ["<|end|>"] });
    const options = { forbidSpecial: true } as const;
    await special.encodeBatch([long(2 * PART)], options);
    const text = `${long(2 * PART)}<|end|>${long(PART)}`;
    expect(await failureOf(() => special.encodeBatch(["a", text], options))).toEqual({
      code: "INVALID_ARGUMENT",
      message: 'texts[1]: expected no forbidden special token, got "<|end|>"',
    });
  });

  it("aborts at whatever point it is", async () => {
    const text = long(16 * PART);
    for (const wait of [0, 1, 2, 4, 8, 16, 32]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), wait);
      const outcome = await tokenizer.encodeAsync(text, { signal: controller.signal }).then(
        () => "done",
        ({ code }) => code,
      );
      expect(["ABORTED", "done"]).toContain(outcome);
      if (wait === 0) expect(outcome).toBe("ABORTED");
    }
    expect((await tokenizer.encodeAsync("a cat")).length).toBe(tokenizer.encode("a cat").length);
  });
});

describe("encodeBatchJoined", () => {
  it("makes an array where the output's memory has gone before", async () => {
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

  it("refuses an output whose memory goes while it is filled", async () => {
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
      message: "output: expected an array that keeps its memory while it is filled, got one of 0 numbers",
    });
  });
});

describe("many short texts", () => {
  it("cross in parts as well, however little is in them", () => {
    const parts: number[] = [];
    const read = (strings: readonly string[]) => void parts.push(strings.length);
    for (const _ of given({ read }, Array(100_000).fill("")));
    expect(parts.reduce((sum, count) => sum + count)).toBe(100_000);
    expect(Math.max(...parts)).toBeLessThanOrEqual(PART / 16);
    let pauses = 0;
    for (const _ of apart({ ids: new Uint32Array(0), counts: new Uint32Array(300_000) })) pauses++;
    expect(pauses).toBeGreaterThan(1);
  });

  it("are more than what native code can be told of before", async () => {
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
  it("gives what encodeWithOffsets gives", async () => {
    const text = long(3 * PART + 9);
    const now = tokenizer.encodeWithOffsets(text);
    const later = await tokenizer.encodeWithOffsetsAsync(text);
    for (const name of ["ids", "offsets"] as const)
      expect(Buffer.from(now[name]).equals(Buffer.from(later[name])), name).toBe(true);
  });
});

describe("train", () => {
  it("makes one vocabulary of a text in one piece and of its lines", async () => {
    const text = Array.from({ length: 40_000 }, (_, i) => `${sentence} ${(i * 7919) % 1000}`).join("\n");
    expect(text.length).toBeGreaterThan(5 * PART);
    const whole = await Tokenizer.train([text], { vocabSize: 600 });
    // Cut where no word goes on, at other places than the parts'.
    const lines = text.split(/(?<=\n)(?=The)/);
    const apart = await Tokenizer.train(lines, { vocabSize: 600 });
    const names = (of: Tokenizer) => Array.from({ length: of.vocabSize }, (_, id) => of.idToToken(id));
    expect(names(whole)).toEqual(names(apart));
  });
});

describe("a trainer", () => {
  const trainerOf = () => new binding.NativeTrainer(Uint32Array.of(0, 0, 1), []);

  it("forgets what it has read and nobody fed", async () => {
    const trainer = trainerOf();
    trainer.read(["cat cat cat"], false);
    trainer.forget();
    expect(() => trainer.read(["s"], true)).toThrowError(/texts: expected one to go on with, got none/u);
    await trainer.feed(1).promise;
    expect(await trainer.trainBytes(10, 1).promise).toHaveLength(0);
  });

  it("is told to where a training comes to nothing", async () => {
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

  it("is asked for nothing else while it reads", () => {
    const trainer = trainerOf();
    trainer.read(["a"], false);
    for (const call of [() => trainer.feed(1), () => trainer.forget(), () => trainer.read(["a"], false)]) {
      const texts = Object.defineProperty([], 0, { get: call });
      expect(() => trainer.read(texts, true)).toThrowError(/texts: expected nothing else while they are read/u);
    }
    trainer.read(["b"], true);
  });
});

describe("a batch", () => {
  const batchOf = () => new binding.NativeBatch((tokenizer as unknown as { native: NativeTokenizer }).native, 0);

  it("is read, then run once, then taken from, then closed", async () => {
    const batch = batchOf();
    const room = new Uint32Array(8);
    expect(() => batch.read(["a"], true)).toThrowError(/texts: expected one to go on with, got none/u);
    expect(() => batch.takeIds(room)).toThrowError(/batch: expected one that has run/u);
    batch.read(["ca"], false);
    batch.read(["t", "dog"], true);
    const running = batch.run();
    for (const call of [() => batch.read(["a"], false), () => batch.run(), () => batch.expect(3)])
      expect(call).toThrowError(/batch: expected one that reads, got one that has run/u);
    expect(() => batch.takeIds(room)).toThrowError(/batch: expected one that has run/u);
    batch.close(); // the job holds what it works on
    const counts = await running.promise;
    const ids = ["cat", "dog"].map((text) => [...tokenizer.encode(text, { addSpecialTokens: false })]);
    expect([...counts]).toEqual(ids.map(({ length }) => length));
    const taken: number[] = [];
    for (const size of [0, 1, 2, 8, 8]) taken.push(...room.subarray(0, batch.takeIds(room.subarray(0, size))));
    expect(taken).toEqual(ids.flat());
    expect(batch.takeOffsets(room)).toBe(0);
    batch.close();
    batch.close();
    expect(() => batch.takeIds(room)).toThrowError(/batch: expected one that has run/u);
  });

  it("is asked for nothing else while it reads", async () => {
    const batch = batchOf();
    batch.read(["a"], false);
    for (const call of [() => batch.run(), () => batch.close(), () => batch.read(["a"], false)]) {
      const texts = Object.defineProperty([], 0, { get: call });
      expect(() => batch.read(texts, true)).toThrowError(/texts: expected nothing else while they are read/u);
    }
    expect(await batch.run().promise).toHaveLength(1);
    batch.close();
  });

  it("gives nothing after a run that was cancelled", async () => {
    const batch = batchOf();
    batch.read([long(8 * PART)], false);
    const job = batch.run();
    job.cancel();
    await expect(job.promise).rejects.toMatchObject({ code: "ABORTED" });
    expect(() => batch.takeIds(new Uint32Array(1))).toThrowError(/batch: expected one that has run/u);
    batch.close();
  });
});
