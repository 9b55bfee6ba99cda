// Reasoning in requests of all APIs: how it reaches the chat template.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { chatModel, user, withServer } from "../helpers.ts";

describe("requests", () => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await chatModel(
      {},
      "{% for m in messages %}[{{ m.role }}]{{ m.reasoning_content or '' }}|{{ m.content }}{% endfor %}[assistant]" +
        "{% if enable_thinking %}on{% else %}off{% endif %}{{ reasoning_effort or '' }}{{ thinking_budget or '' }}",
    );
  });
  afterAll(() => model.dispose());
  const answerTo = async (prompt: string) =>
    (await model.complete(prompt, { maxTokens: 8, temperature: 0, addSpecialTokens: false })).text;
  const before = [
    ...user("a"),
    {
      role: "assistant",
      content: [
        { type: "thinking", thinking: "hm", signature: "x" },
        { type: "text", text: "b" },
      ],
    },
  ];

  test("requests with different variables get different answers from this model", async () => {
    const endings = ["off", "on", "on2048", "onhigh1", "offlow", "offmedium", "onlow"];
    const answers = new Set<string>();
    for (const ending of endings) answers.add(await answerTo(`[user]|a[assistant]hm|b[user]|c[assistant]${ending}`));
    expect(answers.size).toBe(endings.length);
  });

  test.each<[string, object, string]>([
    ["no thinking", {}, "off"],
    ["a budget", { thinking: { type: "enabled", budget_tokens: 2048 } }, "on2048"],
    ["an effort", { thinking: { type: "enabled", budget_tokens: 1 }, output_config: { effort: "max" } }, "onhigh1"],
    ["an effort without thinking", { output_config: { effort: "low" } }, "offlow"],
    ["adaptive thinking", { thinking: { type: "adaptive" }, output_config: { effort: "medium" } }, "offmedium"],
    ["disabled thinking", { thinking: { type: "disabled" } }, "off"],
  ])("requests of Anthropic's API with %s set the template's variables", (_, more, ending) =>
    withServer(model, {}, async ({ post }) => {
      const messages = [...before, ...user("c")];
      const { body } = await post("/v1/messages", { max_tokens: 8, temperature: 0, messages, ...more });
      expect(body.content?.[0]?.text).toBe(await answerTo(`[user]|a[assistant]hm|b[user]|c[assistant]${ending}`));
    }),
  );

  test.each<[string, object, string]>([
    ["no think", {}, "off"],
    ["think: true", { think: true }, "on"],
    ["think: false", { think: false }, "off"],
    ["a level", { think: "low" }, "onlow"],
  ])("requests of Ollama's API with %s set the template's variables", (_, more, ending) =>
    withServer(model, {}, async ({ post }) => {
      const options = { num_predict: 8, temperature: 0 };
      const said = [...user("a"), { role: "assistant", content: "b", thinking: "hm" }, ...user("c")];
      const chat = await post("/api/chat", { stream: false, options, messages: said, ...more });
      expect(chat.body.message?.content).toBe(await answerTo(`[user]|a[assistant]hm|b[user]|c[assistant]${ending}`));
      const generated = await post("/api/generate", { stream: false, options, prompt: "a", ...more });
      expect(generated.body.response).toBe(await answerTo(`[user]|a[assistant]${ending}`));
    }),
  );
});

describe("a model without a chat template", () => {
  let base: LanguageModel;
  beforeAll(async () => {
    base = tinyModel({ tokenizer: await tinyTokenizer() });
  });
  afterAll(() => base.dispose());
  const few = { max_tokens: 2 };

  test.each<[string, object, object, object, string]>([
    [
      "/v1/chat/completions",
      few,
      { reasoning_effort: "none" },
      { reasoning_effort: "low" },
      "reasoning_effort: expected",
    ],
    [
      "/v1/messages",
      few,
      { thinking: { type: "disabled" } },
      { thinking: { type: "enabled", budget_tokens: 1 } },
      "thinking: expected none",
    ],
    ["/api/chat", { options: { num_predict: 2 } }, { think: false }, { think: true }, "think: expected none"],
  ])("answers if reasoning is off, or names the parameter that turns it on: %s", (path, limit, off, on, message) =>
    withServer(base, {}, async ({ post }) => {
      const asked = { messages: user("a"), ...limit };
      expect(await post(path, { ...asked, ...off })).toMatchObject({ status: 200 });
      const { status, body } = await post(path, { ...asked, ...on });
      expect(status).toBe(400);
      expect(body.error.message ?? body.error).toContain(message);
    }),
  );

  test("answers if reasoning is off, or names the parameter that turns it on: /v1/responses", () =>
    withServer(base, {}, async ({ post }) => {
      const respond = (effort: string) =>
        post("/v1/responses", { input: "a", max_output_tokens: 16, reasoning: { effort } });
      expect((await respond("none")).status).toBe(200);
      const { status, body } = await respond("low");
      expect([status, body.error.param]).toEqual([400, "reasoning.effort"]);
    }));
});
