// Compares heddle with the official library (npm tokenizers 0.23.2, in HEDDLE_TOKENIZER_ORACLE), string by string.
import { createRequire } from "node:module";
import { expect } from "vitest";
import type { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { oracleFolder } from "../files/packaged.ts";

export interface Official {
  encode(
    text: string,
    pair?: string | null,
    options?: { addSpecialTokens?: boolean },
  ): Promise<{ getIds(): number[]; getAttentionMask(): number[]; getTypeIds(): number[]; getOffsets(): number[][] }>;
  decode(ids: number[], skipSpecialTokens: boolean): Promise<string>;
}

interface Library {
  Tokenizer: { fromString(json: string): Official; fromFile(path: string): Official };
}

export function officialLibrary(): Library {
  return createRequire(`${oracleFolder}/`)("tokenizers") as Library;
}

/** Fails at the first string with different ids. Every fourth string's decoded text is compared as well. */
export async function expectEqual(
  official: Official,
  tokenizer: Tokenizer,
  count: number,
  nextText: () => string,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    const sample = nextText();
    const ids = (await official.encode(sample.toWellFormed())).getIds();
    const ours = tokenizer.encode(sample, { allowSpecial: true });
    // Comparing strings is cheaper than `expect` on arrays.
    if (ours.join() !== ids.join()) expect([...ours], JSON.stringify(sample)).toEqual(ids);
    if (i % 4 > 0) continue;
    const decoded = await official.decode(ids, i % 8 === 0);
    const mine = tokenizer.decode(ids, { skipSpecialTokens: i % 8 === 0 });
    if (mine !== decoded) expect(mine, JSON.stringify(sample)).toBe(decoded);
  }
}
