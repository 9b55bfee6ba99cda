// Text of answers with visible special tokens.
import { expect, test } from "vitest";
import { AnswerText } from "../../lib/inference/answer-text.ts";
import { added, fromJson, sentencePieceJson } from "../tokenizer/samples.ts";

const MARK = 300;
const TEXT = "[TOOL_CALLS]";
const BYTES = 3; // id of byte 0

test.each(["\n", "日", "🦙"])(
  "a visible special token follows the character %j, whose bytes the decoder held back",
  (character) => {
    const json = sentencePieceJson(["▁", "a", "b", "▁a", "▁b"], []) as { added_tokens: unknown[] };
    json.added_tokens.push(added(MARK, TEXT));
    const tokenizer = fromJson(json);
    const [prompt, a] = [[1, tokenizer.tokenToId("▁a")!], tokenizer.tokenToId("a")!];
    const ids = [a, ...[...Buffer.from(character)].map((byte) => BYTES + byte), MARK, a];
    const visibleTokens = new Map([[MARK, TEXT]]);
    const answer = AnswerText.after(prompt, { tokenizer, stopTexts: [], visibleTokens });
    expect(ids.map((id) => answer.push(id)).join("") + answer.flush()).toBe(`a${character}${TEXT}a`);
  },
);
