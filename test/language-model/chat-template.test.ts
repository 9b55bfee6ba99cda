import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Chat, type LanguageModel, Tokenizer } from "../../lib/index.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const greedy = { maxTokens: 6, temperature: 0, ignoreEos: true };
/** A template that writes all of its input into the prompt's text. */
const chatTemplate = [
  "{% if tools %}<{% for t in tools %}{{ t.name }}{% endfor %}>{% endif %}",
  "{% for d in documents or [] %}({{ d }}){% endfor %}",
  "{% for m in messages %}[{{ m.role }}]",
  "{% if m.content is string %}{{ m.content }}{% elif m.content %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}",
  "{% for c in m.tool_calls or [] %}!{{ c.name }}{% endfor %}{% endfor %}",
  "{% if add_generation_prompt %}[assistant]{% if enable_thinking is false %}-{% endif %}{% endif %}",
  "{# roles: 'robot' #}",
].join("");

let model: LanguageModel;
let base: LanguageModel;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-chat-"));
  const trained = await tinyTokenizer();
  const files = trained.files();
  const tokenizer = Tokenizer.fromFiles({
    tokenizer: files["tokenizer.json"],
    tokenizerConfig: files["tokenizer_config.json"],
    chatTemplate,
  });
  model = tinyModel({ tokenizer }, { maxPositionEmbeddings: 1024 });
  base = tinyModel({ tokenizer: trained });
});
afterAll(async () => {
  await Promise.all([model.dispose(), base.dispose(), rm(folder, { recursive: true })]);
});

/** Returns the model's answer to a hand-written prompt. */
const answerTo = async (prompt: string) =>
  (await model.complete(model.tokenizer!.encode(prompt, { addSpecialTokens: false }), greedy)).text;

test("a chat's prompt is rendered by the model's template, and the chat keeps all of its messages", async () => {
  const chat = model.chat({ system: "S" });
  const { text } = await chat.send("hi", greedy);
  expect(text).toBe(await answerTo("[system]S[user]hi[assistant]"));
  expect(chat.messages.map(({ role }) => role)).toEqual(["system", "user", "assistant"]);
  expect(chat).toBeInstanceOf(Chat);
  chat.dispose();
});

test("truncateLeft drops the oldest turns from a full context's prompt, but not from the chat", async () => {
  const tokenizer = model.tokenizer!;
  await using small = tinyModel({ tokenizer }, { maxPositionEmbeddings: 96 });
  const chat = small.chat({ system: "S" });
  const dropped: number[] = [];
  for (let i = 0; i < 4; i++) {
    const content = `The cat saw the sea ${i}`;
    const [system, ...turns] = chat.messages;
    // The oldest question and its answer are dropped together.
    const shorter = [0, 2, 4, 6]
      .map((from) => [system!, ...turns.slice(from), { role: "user", content }])
      .map((kept) => `${kept.map((m) => `[${m.role}]${m.content}`).join("")}[assistant]`)
      .map((prompt) => tokenizer.encode(prompt, { addSpecialTokens: false }));
    const pairs = shorter.findIndex(({ length }) => length <= 96 - greedy.maxTokens);
    const ids = shorter[pairs]!;
    const { text, usage } = await chat.send(content, { ...greedy, contextOverflow: "truncateLeft" });
    expect(text).toBe((await small.complete(ids, greedy)).text);
    expect(usage.promptTokens).toBe(ids.length);
    dropped.push(pairs);
  }
  expect(chat.tokens).toBeGreaterThan(96);
  // The first prompt has all messages. The last one lacks at least one question and its answer.
  expect(dropped[0]).toBe(0);
  expect(dropped.at(-1)).toBeGreaterThanOrEqual(1);
  expect(chat.messages).toHaveLength(9);
  chat.dispose();
});

test("tools, documents and variables reach the template and are kept with the conversation", async () => {
  const tools = [{ name: "sea" }];
  const options = { tools, documents: ["d"], variables: { enable_thinking: false } };
  const chat = model.chat(options);
  tools[0]!.name = "changed"; // the chat holds a copy
  const { text } = await chat.send("hi", greedy);
  const prompt = "<sea>(d)[user]hi[assistant]-";
  expect(text).toBe(await answerTo(prompt));
  expect(text).not.toBe(await answerTo("[user]hi[assistant]"));
  const path = join(folder, "chat");
  await chat.save(path);
  const others = [chat, chat.fork(), model.chat(JSON.parse(JSON.stringify(chat))), await model.loadChat(path)];
  const next = await answerTo(`<sea>(d)[user]hi[assistant]${text}[user]so[assistant]-`);
  for (const one of others) {
    expect(one.toJSON()).toEqual(chat.toJSON());
    expect((await one.fork().send("so", greedy)).text).toBe(next);
    one.dispose();
  }
});

test("tool results and other roles are sent as messages, and the template sees tool_calls and text parts", async () => {
  const chat = model.chat({
    messages: [
      { role: "user", content: "rain" },
      { role: "assistant", content: null, tool_calls: [{ name: "sea" }] },
    ],
  });
  const said = [
    { role: "tool", content: "No" },
    { role: "user", content: [{ type: "text", text: "so" }] },
  ];
  const { text } = await chat.send(said, greedy);
  expect(text).toBe(await answerTo("[user]rain[assistant]!sea[tool]No[user]so[assistant]"));
  expect(chat.messages.slice(2, 4)).toEqual(said);
  const prompt = `[user]rain[assistant]!sea[tool]No[user]so[assistant]${text}[robot]beep[assistant]`;
  expect((await chat.send({ role: "robot", content: "beep" }, greedy)).text).toBe(await answerTo(prompt));
  expect(chat.messages.map(({ role }) => role).slice(-2)).toEqual(["robot", "assistant"]);
  chat.dispose();
});

test("text parts reach templates that expect a string", async () => {
  const chat = model.chat({ template: "{% for m in messages %}[{{ m.content }}]{% endfor %}" });
  const content = ["a", "b"].map((text) => ({ type: "text", text }));
  const { text } = await chat.send({ role: "user", content }, greedy);
  const ids = model.tokenizer!.encode("[a\nb]", { addSpecialTokens: false });
  expect(text).toBe((await model.complete(ids, greedy)).text);
  expect(chat.messages[0]).toEqual({ role: "user", content });
  expect(chat.tokens).toBe(model.tokenizer!.count(`[a\nb][${text}]`));
  chat.dispose();
});

test("a custom template works, also for a model without one", async () => {
  const template = "{% for m in messages %}{{ m.content }}.{% endfor %}";
  for (const owner of [model, base]) {
    const chat = owner.chat({ template });
    const ids = owner.tokenizer!.encode("hi.", { addSpecialTokens: false });
    expect((await chat.send("hi", greedy)).text).toBe((await owner.complete(ids, greedy)).text);
    chat.dispose();
  }
});

test("rejects invalid templates, tools, variables and messages, and names the wrong value", async () => {
  const refusal = async (act: () => unknown) => {
    const { code, message } = await failureOf(act as () => Promise<unknown>);
    return `${code} ${message}`;
  };
  for (const [act, expected] of [
    [() => base.chat({ tools: [] }), /INVALID_ARGUMENT tools: expected a model with a chat template, got one without/],
    [
      () => base.chat().send({ role: "user", content: null }),
      /message of user: content: expected a string, as the model/,
    ],
    [() => model.chat({ tools: {} as never }), /tools: expected an array, got an object/],
    [() => model.chat({ variables: [] as never }), /variables: expected an object, got \[\]/],
    [() => model.chat({ template: 3 as never }), /template: expected a string, got 3/],
    [() => model.chat({ tools: [() => 1] }), /INVALID_ARGUMENT tools: expected plain data/],
    [() => model.chat({ variables: { count: 3n } }), /INVALID_ARGUMENT variables: expected plain data/],
    [
      () => model.chat({ messages: [{ role: "asistant", content: "x" }] }),
      /message: expected \{ role: .*, got "asistant"/,
    ],
    [
      () => model.chat().send({ role: "user", content: 3 as never }),
      /content: expected a string or an array of parts, got 3/,
    ],
    [
      () => model.chat().send({ role: "assistant", content: 3 as never }),
      /content: expected a string, an array of parts or null, got 3/,
    ],
    [
      () => model.chat().send({ role: "user" }),
      /^INVALID_ARGUMENT message of user: content: expected .*, got undefined/,
    ],
    [() => model.chat().send({ role: "tool", content: null }), /message of tool: content: expected .*, got null/],
    [
      () => model.chat().send({ role: "user", content: [{ type: "text", text: "a" }, { type: "image_url" }] }),
      /^UNSUPPORTED message of user: content\[1\]\.type: expected text, got "image_url" \(the model reads only text\)/,
    ],
    [
      () => model.chat().send({ role: "user", content: ["hi"] }),
      /^INVALID_ARGUMENT message of user: content\[0\]: expected \{ type: "text", text \}, got "hi"/,
    ],
    [() => model.chat().send({ role: "user", content: [{ type: "text" }] }), /content\[0\]: expected .* got an object/],
    [() => model.chat().send([]), /send: expected a text, or at least one message/],
    [() => model.chat().send(undefined as never), /message: expected \{ role/],
    [async () => await model.chat({ template: "missing" }).send("x"), /NOT_FOUND template/],
  ] as const)
    expect(await refusal(act)).toMatch(expected);
});
