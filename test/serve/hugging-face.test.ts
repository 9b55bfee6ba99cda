// Vectors at the paths of Hugging Face's servers.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { chatModel, withServer } from "./helpers.ts";

const [EMBED, TASK] = ["/embed", "/models/tiny/pipeline/feature-extraction"];
const texts = ["The cat", "The sea"];
const lengthOf = (vector: number[]) => Math.hypot(...vector);

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel();
});
afterAll(() => model.dispose());

test("a list of texts gives the vectors of model.embed at both paths", () =>
  withServer(model, {}, async (client) => {
    const expected = (await model.embed(texts)).map((vector) => [...vector]);
    for (const path of [EMBED, TASK])
      expect(await client.post(path, { inputs: texts })).toMatchObject({ status: 200, body: expected });
  }));

test("a single text gives a list of one vector at /embed, and the vector at the path of the task", () =>
  withServer(model, {}, async (client) => {
    const [vector] = (await client.post(EMBED, { inputs: texts })).body;
    expect((await client.post(EMBED, { inputs: texts[0] })).body).toEqual([vector]);
    expect((await client.post(TASK, { inputs: texts[0] })).body).toEqual(vector);
  }));

test.each([true, false])(
  "normalize: true gives vectors of length 1, and false is rejected if the model normalizes them (model normalizes: %s)",
  async (own) => {
    const other = await chatModel();
    try {
      other.model.setEmbedding({ pooling: "mean", normalize: own, maxSeqLength: 40 });
      await withServer(other, {}, async (client) => {
        const ask = (path: string, more = {}) => client.post(path, { inputs: texts, ...more });
        const [plain] = (await ask(TASK)).body;
        expect(Math.abs(lengthOf(plain) - 1) < 1e-5).toBe(own);
        const [scaled] = (await ask(TASK, { normalize: true })).body;
        expect(scaled).toEqual(plain.map((value: number) => expect.closeTo(value / lengthOf(plain), 5)));
        expect((await ask(EMBED)).body[0]).toEqual(scaled);
        const { status, body } = await ask(EMBED, { normalize: false });
        if (own)
          expect([status, body.error]).toEqual([400, expect.stringContaining("normalize: false is not supported")]);
        else expect(body[0]).toEqual(plain);
      });
    } finally {
      await other.dispose();
    }
  },
);

test("truncate shortens long texts, which are rejected otherwise", () =>
  withServer(model, {}, async (client) => {
    const inputs = "The cat saw the sea. ".repeat(400);
    expect((await client.post(EMBED, { inputs, truncate: true })).status).toBe(200);
    expect((await client.post(EMBED, { inputs })).status).toBe(400);
  }));

describe("errors", () => {
  test.each<[string, string, object, number, string]>([
    ["inputs that are missing", EMBED, {}, 400, "inputs: expected a text"],
    ["inputs of another type", EMBED, { inputs: 1.5 }, 400, "inputs: "],
    ["a named prompt", EMBED, { inputs: "a", prompt_name: "query" }, 400, "prompt_name: is not supported"],
    ["an unknown parameter", EMBED, { inputs: "a", normalise: true }, 400, "(nearest: normalize)"],
    ["too many dimensions", EMBED, { inputs: "a", dimensions: 1000 }, 400, "dimensions: expected at most 32"],
    ["an unknown model", TASK.replace("tiny", "big"), { inputs: "a" }, 404, "model: expected tiny"],
  ])("have Hugging Face's form for %s", (_, path, body, status, message) =>
    withServer(model, {}, async (client) => {
      const answer = await client.post(path, body);
      const error_type = "Validation";
      expect(answer).toMatchObject({ status, body: { error: expect.stringContaining(message), error_type } });
    }),
  );
});
