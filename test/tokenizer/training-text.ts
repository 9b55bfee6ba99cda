// A deterministic training text: sentences of words built from a few syllables, with Zipf-distributed frequencies and occasional rare
// characters.
import { generator } from "./generated-text.ts";

const syllables = "ka to mi ren sol ba di lu ne por tas ve xi qua zem ing ed er un re ly tion é ñö 日本 語 ты ни".split(
  " ",
);

export function trainingText(sentences = 1500): string {
  const random = generator(20_251_125);
  const below = (count: number) => Math.floor(random() * count);
  const words = Array.from({ length: 900 }, () => {
    let word = "";
    for (let parts = 1 + below(4); parts > 0; parts--) word += syllables[below(syllables.length)];
    return word;
  });
  const lines: string[] = [];
  for (let line = 0; line < sentences; line++) {
    const chosen = Array.from({ length: 4 + below(12) }, () => words[Math.floor(words.length ** random()) - 1]!);
    if (below(40) === 0) chosen.push(String.fromCodePoint(0x4e00 + below(400)));
    lines.push(`${chosen.join(" ")}.`);
  }
  return lines.join("\n");
}
