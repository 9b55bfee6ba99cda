// Asynchronous chat encoding gives the same text and ids as the synchronous calls, for any message contents.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { binding } from "../../../lib/binding/index.ts";
import type { NativeTokenizer } from "../../../lib/binding/tokenizer.ts";
import type { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { failureOf } from "../../inference/helpers.ts";
import { added, byteLevelJson, fromJson, llamaNormalizer } from "../samples.ts";

const chatMl = [added(256, "<|im_start|>"), added(257, "<|im_end|>"), added(258, "<think>", { special: false })];
const withTokens = (tokens: object[], overrides = {}) =>
  fromJson(byteLevelJson([], { added_tokens: tokens, ...overrides }));
const normalized = chatMl.map((token) => ({ ...token, normalized: true }));
const tokenizers: Record<string, Tokenizer> = {
  plain: withTokens(chatMl),
  "with merges": fromJson(
    byteLevelJson(
      [
        ["<", "|"],
        ["|", ">"],
        ["Ċ", "a"],
      ],
      { added_tokens: chatMl.map((t, i) => ({ ...t, id: 259 + i })) },
    ),
  ),
  "with normalized special tokens": withTokens(normalized, { normalizer: { type: "NFC" } }),
  "with the normalizer of Llama": withTokens(normalized, { normalizer: llamaNormalizer }),
  "with special tokens that strip spaces": withTokens(chatMl.map((t) => ({ ...t, lstrip: true, rstrip: true }))),
};
const plain = tokenizers.plain!;
const user = (content: string) => ({ role: "user", content });
const unit = fc.constantFrom(
  ...[
    "<",
    "|",
    "im_end",
    "|>",
    "<|im_end|>",
    "<|im_",
    "end|>",
    " ",
    "\n",
    "<|im_start|>",
    "<think>",
    "a",
    "é",
    "😀",
    "e\u0301",
  ],
  ...["\ue000", "\\ue001", "\\UE002"],
);
/** A text longer than one slice of asynchronous encoding. */
const filler = "many words ".repeat(1600);

/** Index of the first difference between two arrays; −1 if they are equal. */
function difference(a: Uint32Array, b: Uint32Array): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) return i;
  return -1;
}

describe.each(Object.entries(tokenizers))("asynchronous chat encoding, tokenizer: %s", (_, tokenizer) => {
  it("gives the synchronous ids for a long conversation", () =>
    fc.assert(
      fc.asyncProperty(fc.array(unit, { maxLength: 12 }), fc.nat(12), async (parts, at) => {
        const content = [...parts.slice(0, at), filler, ...parts.slice(at)].join("");
        const messages = [
          { role: "system", content: parts.join("") },
          user(content),
          { role: "assistant", content: parts.join("") },
        ];
        const options = { addGenerationPrompt: true };
        const [now, later] = [
          tokenizer.applyChatTemplate(messages, options),
          await tokenizer.applyChatTemplateAsync(messages, options),
        ];
        expect(later.text === now.text).toBe(true);
        expect(difference(later.ids, now.ids)).toBe(-1);
      }),
      { numRuns: 60 },
    ));

  it("gives the synchronous ids with barriers at any offset", () => {
    const { native } = tokenizer as unknown as { native: NativeTokenizer };
    return fc.assert(
      fc.asyncProperty(
        fc.array(unit, { maxLength: 20 }),
        fc.array(fc.nat(60), { maxLength: 12 }),
        fc.constantFrom(0, 2),
        async (parts, offsets, flags) => {
          const text = parts.join("");
          const barriers = Uint32Array.from(offsets).sort();
          const [now] = native.encodeWithOffsets(text, flags, barriers);
          const batch = new binding.NativeBatch(native, flags, { barriers });
          batch.read([text], false);
          await batch.run().promise;
          const later = new Uint32Array(now.length + 1);
          expect([...later.subarray(0, batch.takeIds(later))]).toEqual([...now]);
          batch.close();
          const [third] = native.encodeWith(text, flags, { barriers });
          expect([...third]).toEqual([...now]);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("guard against forged special tokens", () => {
  it("holds across slice boundaries", () => {
    const own = withTokens([...chatMl, added(259, "😀😀")]);
    const attack = fc.constantFrom("<|im_end|>", "😀<|im_start|>", "\ue000<|im_end|>", "\\ue000<|im_end|>", "😀😀");
    const role = fc.constantFrom("user", "assistant");
    fc.assert(
      fc.property(
        role,
        attack,
        fc.integer({ min: -14, max: 4 }),
        fc.constantFrom(1, 2),
        (role, text, shift, windows) => {
          const content = `<|${"x".repeat(windows * 32768 + shift)}${text}${"y".repeat(40)}`;
          const { ids, text: rendered } = own.applyChatTemplate([{ role, content }]);
          expect(rendered === `<|im_start|>${role}\n${content}<|im_end|>\n`).toBe(true);
          expect([...ids.filter((id) => id >= 256)]).toEqual([256, 257]);
          expect(own.decode(ids) === rendered).toBe(true);
        },
      ),
      { numRuns: 120 },
    );
  });

  it("removes its marks from ASCII-escaped JSON, also across slice boundaries", () => {
    const template = "{{ messages[0].content | tojson(ensure_ascii=true) }}";
    for (let shift = -12; shift <= 2; shift++) {
      const content = `<${"x".repeat(32768 + shift)}<|im_end|>`;
      const { ids, text } = plain.applyChatTemplate([user(content)], { template });
      expect(text === JSON.stringify(content)).toBe(true);
      expect(ids.some((id) => id >= 256)).toBe(false);
    }
  });

  it("blocks special tokens of a single character", async () => {
    for (const content of ["‡", "\u{e000}", "😀"]) {
      const single = withTokens([added(256, content), added(257, "<|end|>")]);
      const template = `{% for m in messages %}${content}{{ m.content }}<|end|>{% endfor %}`;
      for (const role of ["user", "assistant"]) {
        const messages = [{ role, content: `${content}a${content}` }];
        const { ids } = await single.applyChatTemplateAsync(messages, { template });
        expect([...ids.filter((id) => id >= 256)]).toEqual([256, 257]);
        expect(single.decode(ids)).toBe(`${content}${messages[0]!.content}<|end|>`);
      }
    }
  });

  it("rejects conversations with more than 100,000 values", async () => {
    const messages = [{ role: "user", content: Array.from({ length: 100_000 }, () => 1) }];
    const refusal = { code: "INVALID_ARGUMENT", message: "messages: expected at most 100000 values, got more" };
    expect(await failureOf(() => plain.applyChatTemplate(messages))).toEqual(refusal);
    expect(await failureOf(() => plain.applyChatTemplateAsync(messages))).toEqual(refusal);
  });
});

describe("fitAsync", () => {
  it("keeps and drops the same messages as fit", async () => {
    const messages = Array.from({ length: 9 }, (_, i) => ({
      role: i % 2 ? "assistant" : "user",
      content: `${i}<|im_end|> `.repeat(i === 4 ? 2000 : 3),
    }));
    for (const contextLength of [10, 60, 200, 1000, 40_000, 100_000])
      for (const reserve of [0, 5]) {
        const options = { contextLength, reserve, addGenerationPrompt: true };
        expect(await plain.fitAsync(messages, options)).toEqual(plain.fit(messages, options));
      }
  });
});

describe("abort signal", () => {
  const slow = [user("語".repeat(3_000_000))];
  it("rejects immediately if already aborted", async () => {
    const signal = AbortSignal.abort();
    for (const work of [
      () => plain.applyChatTemplateAsync([user("a")], { signal }),
      () => plain.fitAsync([user("a")], { signal, contextLength: 9 }),
    ])
      expect((await failureOf(work)).code).toBe("ABORTED");
  });

  it("stops a running call", async () => {
    for (const wait of [0, 1, 5, 10]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), wait);
      expect((await failureOf(() => plain.applyChatTemplateAsync(slow, { signal: controller.signal }))).code).toBe(
        "ABORTED",
      );
    }
  });

  it("must be an AbortSignal", async () => {
    const failure = await failureOf(() => plain.applyChatTemplateAsync([user("a")], { signal: 3 as never }));
    expect(failure).toEqual({ code: "INVALID_ARGUMENT", message: "signal: expected an AbortSignal, got 3" });
  });
});

it("barriers require a batch of exactly one text", () => {
  const { native } = plain as unknown as { native: NativeTokenizer };
  const barriers = Uint32Array.of(1);
  for (const texts of [["a", "b"], []]) {
    const batch = new binding.NativeBatch(native, 0, { barriers });
    batch.read(texts, false);
    expect(() => batch.run()).toThrowError(/barriers: expected a batch of one text/u);
    batch.close();
  }
  expect(() => new binding.NativeBatch(native, 0, { barriers: [1] as never })).toThrowError(
    /barriers: expected a Uint32Array/u,
  );
});
