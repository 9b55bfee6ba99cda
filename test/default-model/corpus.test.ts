import { describe, expect, it } from "vitest";

import { type RecipeCorpus as Documents, makeCorpus } from "../../lib/lifecycle/recipe/corpus.ts";
import { heldOut, render, seen } from "../../lib/lifecycle/recipe/phrasings.ts";
import { placeTable } from "../../lib/lifecycle/recipe/place-table.ts";
import { places } from "../../lib/lifecycle/recipe/places.ts";
import { Random } from "../../lib/lifecycle/recipe/random.ts";
import { makeRecipe } from "../../lib/lifecycle/recipe/recipe.ts";
import { isRight, score } from "../../lib/lifecycle/recipe/score.ts";
import { expand, tidy } from "../../lib/lifecycle/recipe/template.ts";
import { defaultPlan } from "../../scripts/default-model/plan.ts";

const small = { seed: 1, stories: 400, rounds: 12, knowledge: 300 };
const corpus: Documents = makeCorpus(small);
const training = [...corpus.stories, ...corpus.facts, ...corpus.knowledge];

describe("the corpus of the default model", () => {
  it("has the facts of the installed countries-list", async () => {
    const script = await import(new URL("../../scripts/default-model/places.mjs", import.meta.url).href);
    expect(placeTable.trim()).toBe(script.placeTable());
  });

  it("states the capitals of `toldOnly` places, but never asks for them", () => {
    const toldOnly = new Set(["FR", "PE", "JP"]);
    const { facts } = makeCorpus({ seed: 5, stories: 1, rounds: 20, knowledge: 1, toldOnly });
    const text = facts.join("\n");
    for (const [name, capital] of [
      ["France", "Paris"],
      ["Peru", "Lima"],
      ["Japan", "Tokyo"],
    ]) {
      expect(text).toContain(`The capital of ${name} is ${capital}.`);
      expect(text).not.toMatch(new RegExp(`(capital|city)[^.?]* ${name}('s)?( capital)?\\?`));
    }
    expect(text).toContain("What is the capital of Italy?");
  });

  it("is the same for equal seeds, and differs for others", () => {
    expect(makeCorpus(small)).toEqual(corpus);
    const other: Documents = makeCorpus({ ...small, seed: 2 });
    expect(new Set([...other.stories, ...corpus.stories]).size).toBeGreaterThan(790);
  });

  it("states every capital often and in many wordings", () => {
    expect(places.length).toBeGreaterThanOrEqual(190);
    const text = corpus.facts.join("\n\n");
    expect(text).toContain("The capital of France is Paris.");
    const plain = places.filter((place) => place.capital !== place.name);
    const mentions = plain.map((place) => text.split(place.capital).length - 1);
    expect(Math.min(...mentions)).toBeGreaterThan(40); // with 12 rounds; the default model's corpus has many more
    const france = places.find((place) => place.name === "France")!;
    const long: Documents = makeCorpus({ seed: 1, stories: 1, rounds: 60, knowledge: 1 });
    const all = long.facts.join("\n\n");
    const told = seen.filter(({ ask }) => all.includes(`${render(ask, france)} Paris`));
    expect(told.length).toBeGreaterThan(25);
  });

  it("has at least twelve wordings for training, and contains none of the held-out ones", () => {
    expect(seen.length).toBeGreaterThanOrEqual(12);
    const text = training.join("\n\n");
    const asks = new Set(seen.map(({ ask }) => ask));
    for (const { ask } of heldOut) {
      expect(asks.has(ask)).toBe(false);
      const pieces = `${ask} `.split(/\{\w+\}/).filter(Boolean);
      const isAbsent = pieces.some((piece) => !text.includes(piece));
      const found = isAbsent ? [] : places.filter((place) => text.includes(`${render(ask, place)} `));
      expect(found).toEqual([]);
    }
  });

  it("holds out stories that are not in the training data", () => {
    const known = new Set(training);
    expect(corpus.heldOut.length).toBeGreaterThan(4);
    expect(corpus.heldOut.filter((text) => known.has(text))).toEqual([]);
  });

  it("is well-formed text", () => {
    const all = [...training, ...corpus.heldOut];
    const having = (pattern: RegExp) => all.filter((text) => pattern.test(text));
    expect(having(/[{}[\]|]|undefined|null|NaN/)).toEqual([]);
    expect(having(/ {2}|\.\.| [.,!?]|^\s|\s$/)).toEqual([]);
    expect(having(/(?<![\p{L}'])a [aeio]/u)).toEqual([]);
    expect(having(/\ban [^aeiouh0-9]/)).toEqual([]);
    expect(having(/^[a-z]/)).toEqual([]);
    expect(having(/(?<!\p{L})(?!Pago)(\p{L}+) \1(?!\p{L})/iu)).toEqual([]);
    for (const text of corpus.stories) {
      expect((text.match(/"/g) ?? []).length % 2, text).toBe(0);
      expect(text, text).toMatch(/[.!?]"?$/);
    }
  });

  it("repeats no story among 3,000, and uses more than 900 words", () => {
    const { stories }: Documents = makeCorpus({ seed: 3, stories: 3000, rounds: 1, knowledge: 1 });
    expect(new Set(stories).size).toBe(3000);
    const words = new Set(
      stories
        .join(" ")
        .toLowerCase()
        .match(/[a-z]+/g),
    );
    expect(words.size).toBeGreaterThan(900);
  });
});

describe("the wordings", () => {
  it("insert the place and its capital city, with articles, possessives and capital letters", () => {
    const place = { name: "Netherlands", withArticle: "the Netherlands", capital: "Amsterdam" };
    expect(render("{Cs} capital is {k}.", place)).toBe("The Netherlands' capital is Amsterdam.");
    const peru = { name: "Peru", withArticle: "Peru", capital: "Lima" };
    expect(render("What is {cs} capital? {C}?", peru)).toBe("What is Peru's capital? Peru?");
    const states = { name: "United States", withArticle: "the United States", capital: "Washington D.C." };
    expect(render("It is {k}.", states)).toBe("It is Washington D.C.");
  });
});

describe("the templates", () => {
  it("choose between alternatives, nest, fill in words, and correct articles and capital letters", () => {
    const random = new Random(1);
    const made = new Set(Array.from({ length: 50 }, () => expand("[a|b [c|d]] {x}", { x: ["y"] }, random)));
    expect([...made].sort()).toEqual(["A y", "B c y", "B d y"]);
    expect(tidy("she ate a apple . then a unicorn came")).toBe("She ate an apple. Then a unicorn came");
    expect(() => expand("{missing}", {}, random)).toThrow(/no \{missing\}/);
    expect(() => expand("[a|b", {}, random)).toThrow(/without/);
  });
});

describe("the score", () => {
  it.each([
    [" Paris.", "Paris", true],
    [" The capital of France is Paris. It", "Paris", true],
    [" Rome. The capital of France is Paris.", "Paris", false],
    [" Parisian", "Paris", false],
    [" St. George's.", "St. George's", true],
    [" Kingstown.", "Kingston", false],
    [" Port-Louis", "Port", false],
    ["\nParis", "Paris", true],
    [" Rome\nParis", "Paris", false],
    ["", "Paris", false],
  ])("the answer %j for the capital %s is judged %s", (continuation, capital, right) => {
    expect(isRight(continuation, capital)).toBe(right);
  });

  it("is the share of correct answers by wording", async () => {
    const two = [
      { name: "France", withArticle: "France", capital: "Paris" },
      { name: "Peru", withArticle: "Peru", capital: "Lima" },
    ];
    const answer = (prompt: string) =>
      prompt.startsWith("Now") ? " Rome" : prompt.startsWith("The") ? " Paris." : " Lima";
    const asked = [
      { ask: "The capital of {c} is", answer: "" },
      { ask: "{Cs} capital is", answer: "" },
      { ask: "Now, the capital of {c} is", answer: "" },
    ];
    const result = await score(async (prompts: string[]) => prompts.map(answer), two, asked);
    expect(result.wordings.map((one: { accuracy: number }) => one.accuracy)).toEqual([0.5, 0.5, 0]);
    expect(result.accuracy).toBeCloseTo(1 / 3);
    expect(result.worst).toBe(0);
    expect(result.wrong).toHaveLength(4);
  });
});

describe("the plan of the default model", () => {
  const { model, vocabSize, size } = defaultPlan();

  it("describes a model of at most 16 MB", () => {
    const { hiddenSize, intermediateSize, numHiddenLayers, numAttentionHeads, numKeyValueHeads } = model;
    const attention = hiddenSize * hiddenSize * (2 + (2 * numKeyValueHeads) / numAttentionHeads);
    const layer = attention + 3 * hiddenSize * intermediateSize + 2 * hiddenSize;
    const parameters = vocabSize * hiddenSize + numHiddenLayers * layer + hiddenSize;
    expect(2 * parameters).toBeLessThan(15.5e6); // bf16; the tokenizer takes the rest
  });

  it("splits all places into asked and other ones, and holds out the invented names of the evaluation", () => {
    const { countries, names, sft, preferences, prompts } = makeRecipe(1, {
      ...size,
      stories: 1,
      rounds: 1,
      knowledge: 1,
    });
    expect(countries.asked.length + countries.others.length).toBe(places.length);
    expect(names.heldOut).toHaveLength(100);
    const text = JSON.stringify({ sft, preferences: preferences.train, prompts });
    expect([...names.heldOut, ...names.development].filter((name) => text.includes(name))).toEqual([]);
  });
});
