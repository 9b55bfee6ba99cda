import { type Plan, planOf } from "../../lib/lifecycle/plan.ts";
import { fullSize } from "../../lib/lifecycle/recipe/recipe.ts";

/**
 * The embedded model's plan: that of `heddle lifecycle` with more text and more steps, and with questions about every place, for
 * here none is held back to see whether the model can answer what it was never asked, and conversations of several turns, for it is talked
 * with. Wordings and made-up names are held out as there.
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
