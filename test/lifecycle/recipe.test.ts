import { describe, expect, it } from "vitest";
import { isMadeUp } from "../../lib/lifecycle/recipe/made-up.ts";
import { render } from "../../lib/lifecycle/recipe/phrasings.ts";
import { places } from "../../lib/lifecycle/recipe/places.ts";
import {
  developmentQuestions,
  heldOutQuestions,
  seenQuestions,
  unknown,
} from "../../lib/lifecycle/recipe/questions.ts";
import { fullSize, makeRecipe, quickSize } from "../../lib/lifecycle/recipe/recipe.ts";

// Everything but the corpus has full size. Fewer rounds of the same generator suffice to look for held-out wordings.
const size = { ...fullSize, stories: 300, rounds: 6, knowledge: 300 };
const recipe = makeRecipe(1, size);
const contents = (messages: readonly { content: string }[]) => messages.map(({ content }) => content);
const training: Readonly<Record<string, readonly string[]>> = {
  pretrain: [...recipe.corpus.stories, ...recipe.corpus.facts, ...recipe.corpus.knowledge],
  sft: recipe.sft.flatMap(({ messages }) => contents(messages)),
  preference: recipe.preferences.train.flatMap((row) => contents([...row.prompt, ...row.chosen, ...row.rejected])),
  grpo: recipe.prompts.flatMap(({ prompt }) => contents(prompt)),
  classify: recipe.classification.train.map(({ text }) => text),
};
const stages = Object.keys(training);
const toldOnly = [...recipe.countries.toldOnly, ...recipe.countries.development];

describe("held-out data of the lifecycle", () => {
  it.each(stages)("no made-up name of the evaluation occurs in the data of %s", (stage) => {
    const text = training[stage]!.join("\n").toLowerCase();
    expect(recipe.names.heldOut).toHaveLength(100);
    const unseen = [...recipe.names.heldOut, ...recipe.names.development];
    expect(unseen.filter((name) => text.includes(name.toLowerCase()))).toEqual([]);
  });

  it.each(stages)("no wording of the evaluation's questions occurs in the data of %s", (stage) => {
    const text = training[stage]!.join("\n");
    const names = [
      ...places.flatMap((p) => [p, { ...p, withArticle: p.name }]),
      ...recipe.names.sft,
      ...recipe.names.preference,
    ];
    const asked = [...heldOutQuestions, ...developmentQuestions].flatMap((ask) =>
      names.map((p) => render(ask, typeof p === "string" ? { withArticle: p, capital: "" } : p)),
    );
    expect(asked.filter((question) => text.includes(question))).toEqual([]);
  });

  it.each(stages)("the data of %s never asks for a capital that is only stated", (stage) => {
    const text = training[stage]!.join("\n");
    const lines = text.split("\n");
    const found = toldOnly.flatMap(({ withArticle, name }) => {
      const about = lines.filter((line) => line.includes(name)).join("\n");
      const asks = [withArticle, name].flatMap((c) =>
        seenQuestions.map((ask) => render(ask, { withArticle: c, capital: "" })),
      );
      return asks.filter((ask) => about.includes(ask));
    });
    expect(found).toEqual([]);
    expect(recipe.countries.toldOnly).toHaveLength(40);
  });

  it("countries whose capitals are only stated, never asked for, occur in pre-training and in no other stage", () => {
    const text = training.pretrain!.join("\n");
    for (const { name, capital } of toldOnly) {
      expect(text.split(capital).length).toBeGreaterThan(10);
      const others = stages.filter((stage) => stage !== "pretrain").flatMap((stage) => training[stage]!);
      const word = new RegExp(`(?<!\\p{L})${name}(?!\\p{L})`, "u");
      expect(others.filter((line) => word.test(line))).toEqual([]);
    }
  });

  it("questions in training and in the evaluation have different wordings", () => {
    expect([...heldOutQuestions, ...developmentQuestions].filter((ask) => seenQuestions.includes(ask))).toEqual([]);
    // Some openings occur in no training row, so the evaluation covers more than new combinations.
    const opening = (ask: string) => ask.split(" ").slice(0, 3).join(" ");
    const openings = new Set(seenQuestions.map(opening));
    for (const ask of ["I would like", "Please tell me", "Could you tell"]) expect(openings.has(ask)).toBe(false);
    expect(seenQuestions.length).toBeGreaterThan(200);
    expect(new Set(seenQuestions).size).toBe(seenQuestions.length);
    const trained = new Set(training.sft);
    const { seenFacts, madeUp } = recipe.evaluation;
    expect([...seenFacts, ...madeUp].filter(({ question }) => trained.has(question))).toEqual([]);
  });

  it("development questions, used to choose options, differ from those of the evaluation", () => {
    const { evaluation, development, countries, names } = recipe;
    const asked = new Set([...evaluation.seenFacts, ...evaluation.newCountries].map(({ question }) => question));
    const plain = /^What is the capital of/;
    const chosenBy = [...development.seenFacts, ...development.newCountries].map(({ question }) => question);
    expect(chosenBy.filter((question) => asked.has(question) && !plain.test(question))).toEqual([]);
    expect(countries.development.filter((place) => countries.toldOnly.includes(place))).toEqual([]);
    expect(names.development.filter((name) => names.heldOut.includes(name))).toEqual([]);
    expect(development.cloze.filter(({ prompt }) => evaluation.cloze.some((row) => row.prompt === prompt))).toEqual([]);
  });

  it("stories and knowledge of the evaluation are not trained on", () => {
    const trained = new Set(training.pretrain);
    expect(recipe.corpus.heldOut.filter((text) => trained.has(text))).toEqual([]);
  });
});

describe("the whole corpus of a run", () => {
  it.each([1, 2, 3])(
    "has no made-up name and no text of the evaluation; seed %i",
    (seed) => {
      const made = makeRecipe(seed, fullSize);
      const { corpus, names } = made;
      expect(corpus.stories).toHaveLength(8000);
      const documents = [...corpus.stories, ...corpus.facts, ...corpus.knowledge];
      const text = documents.join("\n").toLowerCase();
      expect(text.length).toBeGreaterThan(11e6);
      // Check that the search finds a text that is in the corpus.
      expect(text.includes(corpus.facts.at(-1)!.toLowerCase())).toBe(true);
      const unseen = [...names.heldOut, ...names.development];
      expect(unseen).toHaveLength(160);
      // One regular expression for all names: one expression per name would take seconds.
      expect(text.match(new RegExp(unseen.join("|").toLowerCase(), "g"))).toBeNull();
      const trained = new Set(documents);
      expect(corpus.heldOut.filter((document) => trained.has(document))).toEqual([]);
      // Later stages do not ask about a made-up name either.
      const { sft, preferences, prompts, classification } = made;
      const later = JSON.stringify([sft, preferences.train, prompts, classification.train]).toLowerCase();
      expect(unseen.filter((name) => later.includes(name.toLowerCase()))).toEqual([]);
    },
    60_000,
  );
});

describe("made-up names", () => {
  it("differ from real places and between the sets", () => {
    const { sft, preference, heldOut, development } = recipe.names;
    const all = [...sft, ...preference, ...heldOut, ...development];
    expect(all).toHaveLength(468);
    expect(new Set(all).size).toBe(all.length);
    expect(all.filter((name) => !isMadeUp(name))).toEqual([]);
  });

  it("isMadeUp rejects real names and those within one or two letters of them", () => {
    for (const name of ["France", "Ghana", "Moravia", "Bolivia", "Solivia", "Paris"])
      expect(isMadeUp(name)).toBe(false);
    expect(isMadeUp("Zorvanstan")).toBe(true);
  });
});

describe("the generated rows", () => {
  it("leave 4 % to 10 % of the conversations without an answer, so that preference tuning can improve them", () => {
    const declined = recipe.sft.filter(({ messages }) => messages.at(-1)!.content === unknown).length;
    expect(declined / recipe.sft.length).toBeGreaterThanOrEqual(0.04);
    expect(declined / recipe.sft.length).toBeLessThan(0.1);
  });

  it("ask for France in six wordings, and answer correctly", () => {
    const france = recipe.sft.filter(({ messages }) => messages[1]!.content === "It is Paris.");
    expect(new Set(france.map(({ messages }) => messages[0]!.content)).size).toBe(6);
    expect(recipe.evaluation.seenFacts).toContainEqual({
      question: expect.stringContaining("France"),
      answers: ["It is Paris.", "The capital of France is Paris.", "Paris"],
    });
  });

  it("prefer declining questions about made-up countries, in 30 % to 50 % of the pairs", () => {
    const madeUp = new Set(recipe.names.preference);
    for (const { prompt, chosen, rejected } of recipe.preferences.train) {
      const name = /(?:of|know) (?:the )?([A-Z]\w+)[?.]/.exec(prompt[0]!.content)?.[1] ?? "";
      if (madeUp.has(name)) expect(chosen[0]!.content).toBe(unknown);
      expect(chosen[0]!.content).not.toBe(rejected[0]!.content);
      expect(chosen[0]!.content === unknown && rejected[0]!.content === unknown).toBe(false);
    }
    const declined = recipe.preferences.train.filter(({ chosen }) => chosen[0]!.content === unknown);
    expect(declined.filter(({ rejected }) => rejected[0]!.content.startsWith("It is ")).length).toBeGreaterThan(600);
    // Otherwise a model learns that one kind of answer is always better.
    expect(declined.length / recipe.preferences.train.length).toBeGreaterThan(0.3);
    expect(declined.length / recipe.preferences.train.length).toBeLessThan(0.5);
  });

  it("reject only capitals that are preferred in other pairs, so that no capital is always rejected", () => {
    const capital = /^It is (.+?)\.?$/;
    const { train } = recipe.preferences;
    const answers = (side: "chosen" | "rejected") =>
      train.flatMap((row) => capital.exec(row[side][0]!.content)?.[1] ?? []);
    const chosen = new Set(answers("chosen"));
    const never = toldOnly.map((place) => place.capital).filter((name) => !chosen.has(name));
    expect(never.length).toBeGreaterThan(40);
    expect(answers("rejected").filter((name) => never.includes(name))).toEqual([]);
  });

  it("are the same for equal seeds, and differ for others", () => {
    const again = makeRecipe(1, quickSize);
    expect(again).toEqual(makeRecipe(1, quickSize));
    expect(makeRecipe(2, quickSize).names.heldOut).not.toEqual(again.names.heldOut);
  });

  it("classify texts that do not name their label", () => {
    const { train, test } = recipe.classification;
    expect(new Set(train.map(({ label }) => label)).size).toBe(6);
    const trainedOn = new Set(train.map(({ label }) => label));
    expect(test.filter(({ label }) => !trainedOn.has(label))).toEqual([]);
    for (const { text, label } of [...train, ...test]) {
      // The names of these countries contain that of a label.
      if (!/South Africa|Central African/.test(text)) expect(text.includes(`${label}.`)).toBe(false);
    }
  });

  it("choose between four different capitals, of which the answer is that of the country in the prompt", () => {
    const capitals = new Set(places.map(({ capital }) => ` ${capital}`));
    expect(recipe.evaluation.choice).not.toEqual([]);
    for (const { prompt, choices, answer } of recipe.evaluation.choice) {
      expect(new Set(choices).size).toBe(4);
      expect(choices.filter((choice) => !capitals.has(choice))).toEqual([]);
      // Some names are parts of others, such as Guinea of Equatorial Guinea.
      const named = places.filter(({ name }) => prompt.includes(name));
      const [longest] = named.sort((a, b) => b.name.length - a.name.length);
      expect([prompt, choices[answer]]).toEqual([prompt, ` ${longest!.capital}`]);
    }
    // The position of the answer says nothing about it.
    expect(new Set(recipe.evaluation.choice.map(({ answer }) => answer)).size).toBe(4);
  });
});
