// The playground in a browser, with a model that has a chat template.
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { type ModelServer, serve } from "../../lib/serve/index.ts";
import { hasBrowser, openBrowser } from "../helpers/browser.ts";
import { chatModel } from "./helpers.ts";

describe.skipIf(!hasBrowser)("the playground", () => {
  let model: LanguageModel;
  let server: ModelServer;
  let browser: Browser;
  let page: Page;
  /** Messages of the console, errors, and requests to other machines. */
  const problems: string[] = [];

  beforeAll(async () => {
    model = await chatModel();
    server = await serve(model, { port: 0, modelName: "tiny", aliases: ["twin"], apiKeys: ["secret"] });
    browser = await openBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close(0);
    await model?.dispose();
  });

  async function open(options: object = {}): Promise<Page> {
    await page?.close();
    page = await browser.newPage(options);
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => {
      // The browser logs rejected requests, which the page shows to the user.
      if (["error", "warning"].includes(message.type()) && !/status of (4|5)\d\d/.test(message.text()))
        problems.push(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${server.url}/`)) problems.push(`a request to ${request.url()}`);
    });
    await page.goto(`${server.url}/`);
    await page.waitForSelector("#status.problem");
    await page.click("#settings-toggle");
    await page.fill("#key", "secret");
    await page.fill("#max_tokens", "12");
    await page.fill("#temperature", "0");
    await page.press("#temperature", "Tab");
    await page.waitForSelector(".column option:nth-child(2)", { state: "attached" });
    return page;
  }

  const idle = () => page.waitForSelector("#send:not([hidden])");
  const say = async (text: string) => {
    await page.fill("#message", text);
    await page.press("#message", "Enter");
    await page.waitForSelector(".assistant");
    await idle();
  };
  const texts = (selector: string) => page.$$eval(selector, (all) => all.map((one) => one.textContent ?? ""));

  test("asks for the key, and chats with the settings and the keyboard alone", async () => {
    await open();
    expect(await page.textContent("#status")).toBe("");
    await page.fill("#system", "Be brief.");
    await say("Hello");
    const [answer] = await texts(".assistant .content");
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
    ];
    const own = await model.respond(messages, { temperature: 0, maxTokens: 12 });
    expect(answer).toBe(own.text);
    expect(await page.evaluate("document.activeElement.id")).toBe("message");
    expect(await texts(".figures")).toEqual([expect.stringMatching(/tokens\/s .* entropy [\d.]+ nats a token/)]);
    expect((await texts(".column .head"))[0]).toMatch(/context \d+ of 1024/);
    await page.setViewportSize({ width: 390, height: 420 });
    await page.$eval(".turns", (box) => {
      box.scrollTop = 0;
    });
    await say("And now?");
    expect(await texts(".turn.user .content")).toEqual(["Hello", "And now?"]);
    // The page shows what was sent, also if it was scrolled up.
    const below = await page.$eval(".turns", (box) => box.scrollHeight - box.scrollTop - box.clientHeight);
    expect(below).toBeLessThan(60);
    await page.click("#clear");
    expect(await texts(".turn")).toEqual([]);
  });

  test("shows the prompt's tokens and each token's candidates, and takes another branch", async () => {
    await open();
    await say("Hello there");
    const [before] = await texts(".assistant .content");
    await page.click("[data-view=tokens]");
    expect((await texts(".token.prompt")).join("")).toBe("[user]Hello there[assistant]");
    const tokens = await texts("button.token");
    expect(tokens).toHaveLength(12);
    // By the keyboard: the third token, its second candidate.
    await page.focus("button.token");
    for (const key of ["ArrowRight", "ArrowRight", "Enter"]) await page.keyboard.press(key);
    const candidates = await texts("#candidates button");
    expect(candidates).toHaveLength(8);
    expect(candidates[0]).toMatch(/\(chosen\)[<\d.]+ %$/);
    const own = await model.respond([{ role: "user", content: "Hello there" }], {
      temperature: 0,
      maxTokens: 12,
      topLogprobs: 1,
    });
    expect(await page.textContent("#candidates p")).toBe(
      `entropy ${own.entropies![2]!.toFixed(2)} nats, id ${own.tokens[2]}`,
    );
    const mean = own.entropies!.reduce((sum, one) => sum + one, 0) / own.entropies!.length;
    expect((await texts(".figures"))[0]).toContain(`entropy ${mean.toFixed(2)} nats a token`);
    await page.keyboard.press("Escape");
    expect(await page.isVisible("#candidates")).toBe(false);
    await page.keyboard.press("Enter");
    for (const key of ["ArrowDown", "Enter"]) await page.keyboard.press(key);
    await idle();
    const branch = await texts("button.token");
    expect(branch.slice(0, 2)).toEqual(tokens.slice(0, 2));
    expect(branch[2]).not.toBe(tokens[2]);
    expect(branch).toHaveLength(3 + 12);
    await page.click("[data-view=text]");
    const [after] = await texts(".assistant .content");
    expect(after).not.toBe(before);
    expect(await texts(".role span")).toContain("2 of 2");
    await page.click("[aria-label='Previous branch']");
    expect(await texts(".assistant .content")).toEqual([before]);
  });

  test("closes the candidates when a message is sent from the keyboard", async () => {
    await open();
    await say("Hello");
    await page.click("[data-view=tokens]");
    await page.focus("button.token");
    await page.keyboard.press("Enter");
    expect(await page.isVisible("#candidates")).toBe(true);
    await say("And now?");
    expect(await page.isVisible("#candidates")).toBe(false);
  });

  test("lists the models that the server has now, even if there are as many as before", async () => {
    await open();
    await page.route("**/v1/models", (route) => route.fulfill({ json: { data: [{ id: "tiny" }, { id: "other" }] } }));
    await page.dispatchEvent("#key", "change");
    await expect.poll(() => texts(".column option")).toEqual(["tiny", "other"]);
  });

  test("measures the time to the first token, and not to the event that opens the answer", async () => {
    await open();
    const [opening, ...tokens] = [{ role: "assistant", content: "" }, { content: "a" }, { content: "b" }].map(
      (delta, i) => {
        const content = i === 0 ? [] : [{ id: i, token: delta.content, logprob: -1, entropy: 1, top_logprobs: [] }];
        return `data: ${JSON.stringify({ choices: [{ index: 0, delta, logprobs: { content } }] })}\n\n`;
      },
    );
    // Pass a string, because code that runs in the page is not compiled.
    await page.evaluate(`{
      const send = fetch;
      window.fetch = (url, options) => {
        if (!String(url).endsWith("chat/completions")) return send(url, options);
        const body = new ReadableStream({
          async start(stream) {
            const write = (text) => stream.enqueue(new TextEncoder().encode(text));
            write(${JSON.stringify(opening)});
            await new Promise((resolve) => setTimeout(resolve, 500));
            write(${JSON.stringify(tokens.join(""))});
            stream.close();
          },
        });
        return Promise.resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }));
      };
    }`);
    await say("Hello");
    const [figures] = await texts(".figures");
    expect(Number(/first token after ([\d.]+) s/.exec(figures!)?.[1])).toBeGreaterThanOrEqual(0.5);
  });

  test("compares two models, and stops both", async () => {
    await open({ viewport: { width: 390, height: 800 }, colorScheme: "dark" });
    await page.click("#settings-toggle");
    await page.click("#compare");
    await say("Hello");
    const [one, two] = await texts(".assistant .content");
    expect(two).toBe(one);
    expect(await texts(".assistant .role")).toEqual(["tiny", "twin"]);
    expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
    await page.click("#settings-toggle");
    await page.fill("#max_tokens", "900");
    await page.click("#settings-toggle");
    await page.fill("#message", "Go on");
    await page.press("#message", "Enter");
    await page.waitForSelector(".turn:nth-child(4) .content:not(:empty)");
    await page.keyboard.press("Escape");
    await idle();
    expect(server.stats.running).toBe(0);
  });

  test("checks the tools, calls one and sends its result", async () => {
    await open();
    await page.fill("#tools", "[{");
    await page.fill("#message", "Weather?");
    await page.press("#message", "Enter");
    expect(await page.textContent("#tools-problem")).toMatch(/^Tools: /);
    expect(await texts(".turn")).toEqual([]);
    // A small model does not call tools, so the test replaces the answer of the server.
    const called = {
      index: 0,
      id: "call_1",
      type: "function",
      function: { name: "weather", arguments: '{"city":"Lima"}' },
    };
    const events = [{ tool_calls: [called] }].map((delta) => JSON.stringify({ choices: [{ index: 0, delta }] }));
    await page.route("**/v1/chat/completions", (route) =>
      route.fulfill({
        contentType: "text/event-stream",
        body: `data: ${events.join("\n\ndata: ")}\n\ndata: [DONE]\n\n`,
      }),
    );
    await page.fill("#tools", '[{"type":"function","function":{"name":"weather"}}]');
    await say("Weather?");
    expect(await texts(".call code")).toEqual(['{"city":"Lima"}']);
    await page.unroute("**/v1/chat/completions");
    const [request] = await Promise.all([
      page.waitForRequest("**/v1/chat/completions"),
      page.fill(".call textarea", "sunny").then(() => page.getByText("Send result").click()),
    ]);
    expect(request.postDataJSON().messages.slice(-2)).toEqual([
      {
        role: "assistant",
        content: "",
        tool_calls: [{ id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Lima"}' } }],
      },
      { role: "tool", content: "sunny", tool_call_id: "call_1" },
    ]);
    await idle();
    expect(await texts(".assistant .content")).toHaveLength(2);
  });

  test("shows what went wrong, keeps the conversation, and can try again", async () => {
    await open();
    await page.route("**/v1/chat/completions", (route) => route.abort());
    await say("Hello");
    expect(await page.textContent("#status")).toBe(
      "The server does not answer. It may have been stopped. The page waits for it.",
    );
    await page.unroute("**/v1/chat/completions");
    await page.getByText("Try again").click();
    await page.waitForSelector(".assistant .content:not(:empty)");
    await idle();
    expect(await page.textContent("#status")).toBe("");
    problems.splice(0, problems.length, ...problems.filter((text) => !/ERR_FAILED/.test(text)));
  });

  test.each([
    [429, "full", "The model is busy, and its queue is full. Try again in a moment."],
    [503, "shutting down", "The model is not available now. Try again in a moment. The server says: shutting down"],
    [404, "no tiny", "The server no longer has the model tiny. Choose another one above, and try again."],
    [400, "a reason", "a reason"],
  ])("explains a rejection with status %d", async (status, message, shown) => {
    await open();
    const body = JSON.stringify({ error: { message } });
    await page.route("**/v1/chat/completions", (route) =>
      route.fulfill({ status, contentType: "application/json", body }),
    );
    if (status === 404) {
      const data = [{ id: "other" }];
      await page.route("**/v1/models", (route) => route.fulfill({ json: { data } }));
    }
    await say("Again");
    expect(await page.textContent("#status")).toBe(shown);
    expect(await page.textContent(".assistant .problem")).toContain(shown);
    if (process.env.HEDDLE_SCREENSHOTS) {
      await page.click("#settings-toggle");
      await page.emulateMedia({ colorScheme: status === 404 ? "dark" : "light" });
      await page.setViewportSize({ width: 390, height: 760 });
      await page.screenshot({ path: `${process.env.HEDDLE_SCREENSHOTS}/busy-${status}.png` });
    }
    // The list of models is refreshed.
    if (status === 404) await expect.poll(() => texts(".column option")).toEqual(["other"]);
  });

  test("reports that an answer broke off, and keeps the part received so far", async () => {
    await open();
    const piece = { choices: [{ index: 0, delta: { content: "half an" }, finish_reason: null }] };
    const body = [piece, { error: { message: "out of memory" } }]
      .map((one) => `data: ${JSON.stringify(one)}\n\n`)
      .join("");
    await page.route("**/v1/chat/completions", (route) => route.fulfill({ contentType: "text/event-stream", body }));
    await say("Hello");
    expect(await texts(".assistant .content")).toEqual(["half an"]);
    expect(await page.textContent("#status")).toBe("The answer broke off. The server says: out of memory");
  });

  test("notices that the server was stopped, and continues when it runs again", async () => {
    await open();
    await say("Hello");
    const port = Number(new URL(server.url).port);
    await server.close(0);
    await say("And now?");
    expect(await page.textContent("#status")).toContain("The server does not answer.");
    server = await serve(model, { port, modelName: "tiny", aliases: ["twin"], apiKeys: ["secret"] });
    await expect.poll(() => page.textContent("#status"), { timeout: 20_000 }).toBe("The server answers again.");
    await page.getByText("Try again").click();
    await expect.poll(async () => (await texts(".assistant .content")).filter((text) => text !== "")).toHaveLength(2);
    await idle();
    expect(await page.textContent("#status")).toBe("");
    problems.splice(0, problems.length, ...problems.filter((text) => !/ERR_CONNECTION_REFUSED|ERR_EMPTY/.test(text)));
  }, 60_000);

  test("has no errors in the console and sends no request to another server", () => {
    expect(problems).toEqual([]);
  });
});
