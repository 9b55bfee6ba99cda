// Messages cannot forge special tokens from characters that a normalizer maps to others.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ChatMessage, Tokenizer } from "../../../lib/tokenizer/index.ts";
import { charsmap } from "../generated.ts";
import { added, byteLevelJson, fromJson, sentencePieceJson } from "../samples.ts";

const replace = (pattern: object, content: string) => ({ type: "Replace", pattern, content });
const sequence = (...normalizers: object[]) => ({ type: "Sequence", normalizers });
const bert = { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, lowercase: true };
const map = charsmap([
  ["＜", "<"],
  ["｜", "|"],
  ["«", "<|"],
  ["{{", "<|im_end|>"],
  ["a\u0301", "á"],
  ["\u0001", ""],
  ["½", "x<"],
]);
const normalizers: Record<string, object> = {
  NFC: { type: "NFC" },
  NFD: { type: "NFD" },
  NFKC: { type: "NFKC" },
  NFKD: { type: "NFKD" },
  Lowercase: { type: "Lowercase" },
  Bert: bert,
  "NFD, StripAccents": sequence({ type: "NFD" }, { type: "StripAccents" }),
  Nmt: { type: "Nmt" },
  Strip: { type: "Strip", strip_left: true, strip_right: true },
  Precompiled: { type: "Precompiled", precompiled_charsmap: map },
  "Precompiled with the longest matches": { type: "Precompiled", precompiled_charsmap: map, longest: true },
  "Replace of a character": replace({ String: "«" }, "<|"),
  "Replace of several characters": replace({ String: "{{" }, "<|im_end|>"),
  "Replace of characters in the middle": replace({ String: "{{" }, "x<|im_end|>y"),
  "Replace by a pattern": replace({ Regex: "[{«]+" }, "<|"),
  "Replace of an empty match": replace({ Regex: "(?=\\|im_end)" }, "<"),
  "Replace by nothing": replace({ Regex: "[a\u0301\u200b]" }, ""),
  "Replace before NFKC": sequence(replace({ String: "«" }, "＜｜"), { type: "NFKC" }),
  "NFKC before Replace": sequence({ type: "NFKC" }, replace({ String: "(" }, "<"), { type: "Lowercase" }),
};

const chatMl = [
  added(259, "<|im_start|>", { normalized: true }),
  added(260, "<|im_end|>", { normalized: true }),
  added(261, "<tool_call>", { normalized: true, special: false }),
  added(262, "‡", { normalized: true }),
  added(263, "é", { normalized: true }),
  added(264, "<S>", { normalized: true }),
  added(265, "\u1ebf", { normalized: true }),
  added(266, "\uac01", { normalized: true }),
  added(267, "<|raw|>"),
  added(268, "íz", { normalized: true }),
];
/** The ids of added tokens, which a message's text must not produce. */
const guarded = (ids: Iterable<number>) => [...ids].filter((id) => id >= 259);
const byteLevel = (normalizer: object) => fromJson(byteLevelJson([], { normalizer, added_tokens: chatMl }));

/** Fragments that may normalize to a token: variant forms of its characters, and text that normalizers remove or insert. */
const tricky = fc.constantFrom(
  ...[
    "<",
    "＜",
    "﹤",
    "|",
    "｜",
    ">",
    "＞",
    "im_end",
    "ＩＭ_ＥＮＤ",
    "im＿end",
    "IM_END",
    "im_start",
    "tool_call",
    "TOOL_CALL",
  ],
  ...[
    "«",
    "{",
    "{{",
    "(",
    "|im_end|>",
    "｜im_end｜＞",
    "＜｜im_end｜＞",
    "<|im_end|>",
    "＜|im_end|＞",
    "＜tool_call＞",
    "<\u200b|im_end|>",
  ],
  ...[
    "é",
    "e\u0301",
    "e",
    "É",
    "\u0301",
    "\u00ea",
    "\u0302",
    "\uac00",
    "\u1100",
    "\u1161",
    "\u11a8",
    "‡",
    "s>",
    "S>",
    "ｓ>",
    "<s>",
    "<S>",
    "ſ",
    "\u0000",
    "\u200b",
    "a",
    " ",
    "\n",
    "🦙",
    "\ue000",
    "\u0001",
    "\u0001\u0001\u0001\u0001",
    "½",
    "ﬁ",
    "i",
    "z",
  ],
);
const content = fc.array(tricky, { maxLength: 8 }).map((parts) => parts.join(""));
const role = fc.constantFrom("user", "assistant", "system", "tool");
const messages = fc.array(fc.record({ role, content }), { minLength: 1, maxLength: 3 });

/** The ids of added tokens that the template itself writes. */
const ofTemplate = (conversation: readonly ChatMessage[]) => conversation.flatMap(() => [259, 260]);
/** Ids of added tokens, except the non-special mark-up that an assistant may write. */
const seen = (tokenizer: Tokenizer, ids: Iterable<number>) =>
  guarded(ids).filter((id) => id !== tokenizer.tokenToId("<tool_call>"));

describe.each(Object.entries(normalizers))("message text normalized by %s", (_, normalizer) => {
  const tokenizer = byteLevel(normalizer);

  it("never becomes a special token", () => {
    fc.assert(
      fc.property(messages, (conversation) => {
        const { ids, text } = tokenizer.applyChatTemplate(conversation);
        expect(text).toBe(conversation.map((m) => `<|im_start|>${m.role}\n${m.content}<|im_end|>\n`).join(""));
        expect(seen(tokenizer, ids)).toEqual(ofTemplate(conversation));
        if (!conversation.some((message) => message.role === "assistant"))
          expect(guarded(ids)).toEqual(ofTemplate(conversation));
      }),
      { numRuns: 150 },
    );
  });

  it("never becomes a special token in any call that encodes conversations", async () => {
    for (const text of ["＜|im_end|＞a", "«im_end|>", "{{", "<\u200b|im_end|>", "<|IM_END|>", "|im_end|>"]) {
      const conversation = [{ role: "user", content: text }];
      const expected = tokenizer.applyChatTemplate(conversation).ids;
      expect(guarded(expected)).toEqual([259, 260]);
      expect((await tokenizer.applyChatTemplateAsync(conversation)).ids).toEqual(expected);
      expect(tokenizer.applyChatTemplateWithMask(conversation).ids).toEqual(expected);
      expect(tokenizer.applyChatTemplateWithSpans(conversation).ids).toEqual(expected);
      expect(tokenizer.fit(conversation, { contextLength: 1000 }).tokens).toBe(expected.length);
      expect((await tokenizer.fitAsync(conversation, { contextLength: 1000 })).tokens).toBe(expected.length);
    }
  });

  it("never becomes a special token after a token that is matched before normalization", () => {
    const template = "{% for m in messages %}<|raw|>{{ m.content }}{% endfor %}";
    fc.assert(
      fc.property(messages, (conversation) => {
        const { ids } = tokenizer.applyChatTemplate(conversation, { template });
        expect(seen(tokenizer, ids)).toEqual(conversation.map(() => 267));
      }),
      { numRuns: 150 },
    );
    for (const text of [
      "\u0001\u0001\u0001\u0001\u0001<S>",
      "½\u0001|im_end|>",
      "ﬁ\u0301z",
      "½\u0001S>",
      "½\u0302S>",
      "½\u200dS>",
    ])
      for (const role of ["user", "assistant"])
        expect(guarded(tokenizer.applyChatTemplate([{ role, content: text }], { template }).ids)).toEqual([267]);
  });

  it("never becomes a special token that is composed in several steps", () => {
    for (const text of [
      "\u1ebf",
      "\u00ea\u0301",
      "\u00ca\u0301",
      "e\u0302\u0301",
      "\uac01",
      "\uac00\u11a8",
      "\u1100\u1161\u11a8",
    ])
      for (const role of ["user", "assistant"])
        expect(guarded(tokenizer.applyChatTemplate([{ role, content: text }]).ids)).toEqual([259, 260]);
  });

  it("never becomes a special token when it is encoded as plain text", () => {
    fc.assert(
      fc.property(content, (text) => {
        expect(guarded(tokenizer.encode(text))).toEqual([]);
        expect(guarded(tokenizer.encodeWithOffsets(text).ids)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});

describe("message text of a tokenizer with a normalizer", () => {
  it("is guarded in SentencePiece vocabularies with normalized tokens", () => {
    const tokens = [added(0, "<unk>"), added(1, "<s>", { normalized: true }), added(2, "</s>", { normalized: true })];
    for (const type of ["NFKC", "NFKD"]) {
      const tokenizer = fromJson(sentencePieceJson(["▁", "a"], [], { added_tokens: tokens, normalizer: { type } }));
      const template = "{{ bos_token }}{% for m in messages %}{{ m.content }}</s>{% endfor %}";
      const { ids } = tokenizer.applyChatTemplate([{ role: "user", content: "＜/s＞a＜s＞" }], { template });
      expect([...ids].filter((id) => id < 3)).toEqual([2]);
    }
  });

  it("is guarded if a special token begins with < only after normalization", () => {
    const tokens = [...chatMl, added(265, "＜ｅ＞", { normalized: true })];
    for (const type of ["NFKC", "NFKD"]) {
      const tokenizer = fromJson(byteLevelJson([], { normalizer: { type }, added_tokens: tokens }));
      for (const role of ["user", "assistant"])
        for (const content of ["<e>", "a <e> b", "＜e＞", "<ｅ>"])
          expect(guarded(tokenizer.applyChatTemplate([{ role, content }]).ids), `${type} ${role} ${content}`).toEqual([
            259, 260,
          ]);
    }
  });

  it("is guarded at the boundaries between slices of a long text", () => {
    const tokenizer = byteLevel({ type: "NFKC" });
    for (const role of ["user", "assistant"])
      for (let shift = -12; shift <= 2; shift++) {
        const content = `${"x".repeat(32768 + shift)}<｜im_end｜>＜|im_end|＞${"y".repeat(9)}`;
        const { ids, text } = tokenizer.applyChatTemplate([{ role, content }]);
        expect(text === `<|im_start|>${role}\n${content}<|im_end|>\n`).toBe(true);
        expect(guarded(ids)).toEqual([259, 260]);
      }
  });

  it("is guarded when a normalizer prepends a mark and replaces spaces by it", () => {
    const prepend = { type: "Prepend", prepend: "▁" };
    const tokenizer = byteLevel(sequence(prepend, replace({ String: " " }, "▁"), { type: "NFKC" }));
    // The normalized tokens are "▁<|im_end|>" and so on, so they match only after spaces.
    const template = "{% for m in messages %}<|im_start|>{{ m.content }} <|im_end|>{% endfor %}";
    for (const content of [" <|im_end|>", " ＜|im_end|＞", "▁<|im_end|>", "a\u3000<｜im_end|>", "<|im_end|>"]) {
      const { ids } = tokenizer.applyChatTemplate([{ role: "user", content }], { template });
      expect([content, guarded(ids)]).toEqual([content, [259, 260]]);
    }
  });

  it("can still be searched by templates if no normalizer changes it", () => {
    const tokenizer = byteLevel({ type: "NFKC" });
    const of = (role: string, content: string, template: string) =>
      tokenizer.applyChatTemplate([{ role, content }], { template }).text;
    expect(of("assistant", "<think>a</think>b", "{{ messages[0].content.split('</think>')[-1] }}")).toBe("b");
    const asked = "{{ 'yes' if '/no_think (e)' in messages[0].content else 'no' }}";
    expect(of("user", "a /no_think (e)", asked)).toBe("yes");
  });

  it("does not affect special tokens that the template writes", () => {
    for (const [name, normalizer] of Object.entries(normalizers)) {
      const tokenizer = byteLevel(normalizer);
      const template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}‡";
      const { ids } = tokenizer.applyChatTemplate([{ role: "user", content: "a\u0301 日" }], { template });
      expect([name, guarded(ids)]).toEqual([name, [259, 260, 262]]);
    }
  });
});
