// Random strings for testing tokenizers, deterministic for a seed.

/** Mulberry32: a small random number generator over [0, 1). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const words =
  "the The un believ able believable don't I'm WE'LL naïve café CAFÉ Straße ﬁn ﬀ Ǆ İstanbul ΣΑΣ σας ſ K ① ½ ² ٣ १२ 12 3456 x1 日本語 東京 ひらがな カタカナ 한국어 각 가힣 ไทย हिन्दी क्षि עברית عربي مَرحبا été ëß a\u0301 e\u0301 o\u0308\u0304 \u0301 \u05b0\u05bc q\u0323\u0307 q\u0307\u0323 ①② ㎏ ㍿ ﷺ ！？ 。、 「」 … — – ‘x’ “y” « $ € + = < > | ~ ^ ` ' \" # [CLS] [SEP] [MASK] <s> </s> <unk> <0x41> <0x0A> ▁ ▁▁ Ġ ## ##a .. , ! ? n't 👍 👍🏽 👩‍👩‍👧‍👦 🇩🇪 🇩 ❤️ ©️ ©\u200d \u200b \u200d \u00ad \ufeff \ufffd \u0000 \u0007 \u007f \u0085 \u00a0 \u2003 \u2028 \u3000 \t \n \r\n \r \v\f 𝔸𝕓 𐐀 𠀀 𫝀 \ud800 \udc00 http://a.b/c?d=e foo_bar fooBar HTTPServer /* */ {\"a\":1} <br/>".split(
    " ",
  );
const spaces = [" ", " ", " ", " ", "", "", "  ", "   ", "\n", "\n\n", "\t", " \n ", "\u00a0", "\u3000"];
/** Unicode blocks whose characters compose, decompose, fold or separate in special ways. */
const blocks: [number, number][] = [
  [0, 0x80],
  [0x80, 0x250],
  [0x300, 0x370],
  [0x370, 0x530],
  [0x590, 0x800],
  [0x800, 0xe00],
  [0xe00, 0x1200],
  [0x1100, 0x1200],
  [0x1e00, 0x2000],
  [0x2000, 0x2c00],
  [0x3000, 0x3400],
  [0x4e00, 0x4e40],
  [0xac00, 0xac80],
  [0xf900, 0xfb00],
  [0xfb00, 0x10000],
  [0x10000, 0x12000],
  [0x1d100, 0x1d800],
  [0x1f000, 0x1fb00],
  [0x20000, 0x20020],
  [0, 0x110000],
];

/** Returns a text of up to 8 random parts: a word, characters of a block, a repeated word, or a few letters. */
export function randomText(random: () => number): string {
  const below = (count: number) => Math.floor(random() * count);
  const pick = <T>(list: readonly T[]) => list[below(list.length)]!;
  let text = "";
  for (let parts = below(9); parts > 0; parts--) {
    const kind = random();
    if (kind < 0.6) {
      text += pick(words);
    } else if (kind < 0.75) {
      const [first, end] = pick(blocks);
      for (let count = 1 + below(4); count > 0; count--) text += String.fromCodePoint(first + below(end - first));
    } else if (kind < 0.85) {
      text += pick(words).repeat(1 + below(4));
    } else {
      for (let count = 1 + below(6); count > 0; count--) text += pick([..."abcdeABCéß01 .,'-"]);
    }
    text += pick(spaces);
  }
  return text;
}
