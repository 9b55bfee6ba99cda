// The handler of createFetchHandler runs in a Hono app, as docs/server.md mounts it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { createFetchHandler, type FetchHandler } from "../../../lib/serve/index.ts";
import { chatModel, eventsIn, type Json, user } from "../helpers.ts";
import { client } from "./installed.ts";

const loaded = client<Json>("hono");

describe.skipIf(loaded === undefined)("Hono", () => {
  let model: LanguageModel;
  let handler: FetchHandler;
  let app: Json;
  beforeAll(async () => {
    const { Hono } = await loaded!;
    model = await chatModel();
    handler = createFetchHandler(model, { modelName: "tiny" });
    app = new Hono().get("/", (context: Json) => context.text("home")).mount("/llm", handler);
  });
  afterAll(async () => {
    await handler?.close();
    await model?.dispose();
  });

  const asked = { messages: user("The cat"), max_tokens: 8, temperature: 0 };
  const post = (body: object): Promise<Response> =>
    app.request("/llm/v1/chat/completions", {
      ...{ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) },
    });

  test("serves the API below the path where the handler is mounted", async () => {
    const { data } = (await (await app.request("/llm/v1/models")).json()) as Json;
    expect(data).toMatchObject([{ id: "tiny" }]);
    expect(await (await app.request("/")).text()).toBe("home");
  });

  test("answers and streams the same chat", async () => {
    const answer = (await (await post(asked)).json()) as Json;
    const { message } = answer.choices[0];
    expect(message.content).not.toBe("");
    const events = eventsIn(await (await post({ ...asked, stream: true })).text());
    expect(events.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(message.content);
  });

  test("passes on errors with their status", async () => {
    const refused = await post({ ...asked, model: "other" });
    expect([refused.status, await refused.json()]).toMatchObject([404, { error: { code: "model_not_found" } }]);
  });
});
