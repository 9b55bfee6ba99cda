import { type Plan, planOf } from "../../lib/lifecycle/plan.ts";
import { fullSize } from "../../lib/lifecycle/recipe/recipe.ts";

/**
 * Returns the embedded model's plan: that of `heddle lifecycle` with more text and more steps. Training asks about every place, so that the model
 * knows all of them. Conversations have up to three turns, because users chat with the model. Wordings and made-up names are still held out.
 */
export function defaultPlan(): Plan {
  const plan = planOf({ seed: 1, budgetMinutes: 20, quick: false });
  return {
    ...plan,
    name: "heddle-default",
    size: {
      ...fullSize,
      stories: 12_000,
      rounds: 120,
      knowledge: 8_000,
      toldCountries: 0,
      developmentCountries: 0,
      turns: 3,
      madeUp: { ...fullSize.madeUp, preference: 600 },
    },
    stages: {
      ...plan.stages,
      pretrain: { steps: 3000, seconds: 1400 },
      dpo: { steps: 240, seconds: 200 },
    },
  };
}
