import { HeddleError } from "../../core/errors.ts";
import { type FactOptions, factRound } from "./facts.ts";
import { knowledge } from "./knowledge.ts";
import { development, heldOut, render } from "./phrasings.ts";
import { places } from "./places.ts";
import { Random } from "./random.ts";
import { story } from "./stories.ts";

interface CorpusSize extends FactOptions {
  seed?: number;
  /** Number of stories to train on. Another 1 % is held out. */
  stories?: number;
  /** Number of rounds of facts. A round states every capital about five times. */
  rounds?: number;
  /** Number of sheets of everyday knowledge, which are short documents. Another 1 % is held out. */
  knowledge?: number;
}

/** Documents for pre-training by kind, and held-out stories and sheets. */
export interface RecipeCorpus {
  stories: string[];
  facts: string[];
  knowledge: string[];
  heldOut: string[];
}

/**
 * Generates the pre-training text: stories, facts about places, everyday knowledge. The same seed generates the same
 * bytes.
 * @throws HeddleError INTERNAL if a fact has a held-out wording
 */
export function makeCorpus(size: CorpusSize = {}): RecipeCorpus {
  const { seed = 1, stories = 12000, rounds = 90, knowledge: sheets = 8000, toldOnly } = size;
  const distinct = (count: number, make: () => string) => {
    const texts = new Set<string>();
    for (let tries = 0; texts.size < count && tries < 20 * count; tries++) texts.add(make());
    return [...texts];
  };
  // Each part has a separate random stream, so that changing the size of one part leaves the others unchanged.
  const stream = (part: number) => new Random(seed * 16 + part);
  const [storyRandom, factRandom, knowledgeRandom] = [stream(1), stream(2), stream(3)];
  const allStories = distinct(Math.ceil(stories * 1.01), () => story(storyRandom));
  const allKnowledge = distinct(Math.ceil(sheets * 1.01), () => knowledge(knowledgeRandom));
  const facts = Array.from({ length: rounds }, () => factRound(factRandom, toldOnly ? { toldOnly } : {})).flat();
  refuseHeldOut(facts);
  return {
    stories: allStories.slice(0, stories),
    facts,
    knowledge: allKnowledge.slice(0, sheets),
    heldOut: [...allStories.slice(stories), ...allKnowledge.slice(sheets)],
  };
}

/** Throws if a document contains a wording of `heldOut` or `development`. */
function refuseHeldOut(documents: readonly string[]): void {
  const text = documents.join("\n\n");
  for (const { ask } of [...heldOut, ...development]) {
    // Most wordings have a part that occurs in no document. For the others, check every place name.
    const pieces = `${ask} `.split(/\{\w+\}/);
    if (pieces.some((piece) => piece && !text.includes(piece))) continue;
    for (const place of places) {
      for (const name of [place.name, ...place.names.map((other) => other.replace(/^the /, ""))]) {
        for (const withArticle of [name, `the ${name}`]) {
          const prompt = `${render(ask, { ...place, withArticle })} `;
          if (text.includes(prompt))
            throw new HeddleError("INTERNAL", `corpus: expected no held-out wording, got ${JSON.stringify(prompt)}`);
        }
      }
    }
  }
}
