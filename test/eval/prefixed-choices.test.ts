// Choices with tokenizers that prepend a space to a text.
import { expect, it } from "vitest";
import { multipleChoice } from "../../lib/eval/choice.ts";
import { tinyModel } from "../inference/helpers.ts";
import { prefixedTokenizers } from "../tokenizer/pipeline/prefixed.ts";

it("choices of a chat are scored without a leading space", async () => {
  const messages = [{ role: "user", content: "The sky?" }];
  const choices = ["blue", "near"];
  for (const { name, tokenizer } of await prefixedTokenizers()) {
    await using model = tinyModel({ tokenizer });
    const prompt = [...tokenizer.applyChatTemplate(messages, { addGenerationPrompt: true }).ids];
    const { answers } = await multipleChoice(model, [{ messages, choices, answer: 0 }]);
    for (const [i, choice] of choices.entries()) {
      const own = tokenizer.encode(choice, { addSpecialTokens: false, addPrefixSpace: false });
      const scores = await model.score([...prompt, ...own], { from: prompt.length });
      const expected = scores.slice(-own.length).reduce((sum, score) => sum + score, 0);
      expect(answers[0]!.logprobs[i], name).toBeCloseTo(expected, 4);
    }
  }
});
