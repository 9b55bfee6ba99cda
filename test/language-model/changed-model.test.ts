// Changing a model in use: running calls finish with the old weights, later calls use the new ones.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { LanguageModel, Session } from "../../lib/language-model/index.ts";
import { adapterTensors } from "../../lib/models/adapters/adapters.ts";
import { generator, uniform } from "../../lib/models/random.ts";
import { TrainStep } from "../../lib/train/loop/step.ts";
import { languageModeling } from "../../lib/train/losses/language-modeling.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const folder = temporaryFolder();
const greedy = { maxTokens: 6, temperature: 0, ignoreEos: true };
const idsFrom = (seed: number, count: number) => Array.from({ length: count }, (_, i) => (seed + i * i * 7) % 320);
const prompt = idsFrom(3, 90);

/** Adds an adapter with a non-zero update. */
async function addAdapter(of: LanguageModel, name: string, seed: number): Promise<void> {
  const adapter = await of.model.addAdapter(name, { r: 4 }, seed);
  for (const [i, t] of adapterTensors(adapter).entries()) {
    const tensor = of.model.weight(t);
    await tensor.write(uniform(tensor.elements, 0.3, generator(seed + i)));
  }
}

async function adapted(config: object = {}): Promise<LanguageModel> {
  const made = tinyModel({}, { maxPositionEmbeddings: 1024, ...config });
  await addAdapter(made, "x", 5);
  return made;
}

/** Runs one training step over all weights. */
async function train({ model }: LanguageModel): Promise<void> {
  const shape = { sequences: 1, sequenceLength: 32, dtype: "f32" } as const;
  const step = await TrainStep.create(model, languageModeling, shape);
  const [tokens, targets] = [Int32Array.from(idsFrom(5, 32)), Int32Array.from(idsFrom(6, 32))];
  await step.run([{ tokens, targets, tokenCount: 32, byteCount: 0 }], 0.05);
  step.dispose();
}

const changes: [string, (of: LanguageModel) => void | Promise<void>][] = [
  ["mergeAdapter", (of) => of.mergeAdapter("x")],
  ["removeAdapter", (of) => of.removeAdapter("x")],
  ["setActiveAdapters", (of) => of.setActiveAdapters([])],
  ["another adapter", (of) => addAdapter(of, "y", 50)],
  [
    "a replacement with the same name",
    (of) => {
      of.removeAdapter("x");
      return addAdapter(of, "x", 99);
    },
  ],
  [
    "a merge and its undoing",
    async (of) => {
      await of.mergeAdapter("x");
      of.unmergeAdapters();
    },
  ],
  ["prepareForTraining", (of) => of.model.prepareForTraining(of.model.weightNames)],
];

describe.each(changes)("%s", (_, change) => {
  test.each([
    ["", {}],
    [", one token per run", { repetitionPenalty: 1.1 }],
    [", without adapters", { adapters: [] }],
  ])("a running call keeps the weights and adapters it began with%s", async (_, given) => {
    await using own = await adapted();
    const options = { ...greedy, maxTokens: 300, ...given }; // the cache grows
    const { tokens } = await own.complete(prompt, options);
    const got: number[] = [];
    for await (const piece of own.generate(prompt, options)) {
      got.push(piece.token);
      if (got.length === 20) await change(own);
    }
    expect(got).toEqual(tokens);
  });

  test("each call of a session uses the model's state at that call", async () => {
    await using own = await adapted();
    const session = own.session();
    await session.complete(prompt, greedy);
    await change(own);
    const longer = [...prompt, ...idsFrom(8, 20)];
    const [got, expected] = [await session.complete(longer, greedy), await own.complete(longer, greedy)];
    expect(got.tokens).toEqual(expected.tokens);
    expect(got.logprobs[0]).toBeCloseTo(expected.logprobs[0]!, 4);
    session.dispose();
  });
});

test("a call takes its weights and adapters synchronously, whatever changes in the same tick", async () => {
  await using own = await adapted();
  const calls: [string, () => Promise<unknown>][] = [
    ["complete", async () => (await own.complete(prompt, greedy)).tokens],
    ["several", async () => (await own.completeAll([prompt, [1, 2]], greedy)).map((c) => c.tokens)],
    ["beams", async () => (await own.complete(prompt, { ...greedy, numBeams: 3 })).tokens],
    ["drafts", async () => (await own.complete(prompt, { ...greedy, promptLookupNumTokens: 4 })).tokens],
    ["logits", () => own.logits(prompt, { last: true })],
    ["score", () => own.score(prompt)],
    ["embed", () => own.embed([prompt, [4, 5]])],
  ];
  for (const [name, call] of calls) {
    const through = await call();
    own.setActiveAdapters([]);
    const base = await call();
    own.setActiveAdapters(["x"]);
    expect(through, name).not.toEqual(base);
    const beforeMerge = call();
    await own.mergeAdapter("x");
    expect(await beforeMerge, `${name}, then a merge`).toEqual(through);
    const merged = await call();
    const beforeUnmerge = call();
    own.unmergeAdapters();
    expect(await beforeUnmerge, `${name}, then unmerge`).toEqual(merged);
    const beforeRemove = call();
    own.removeAdapter("x");
    expect(await beforeRemove, `${name}, then its removal`).toEqual(through);
    await addAdapter(own, "x", 5);
  }
});

test("a call takes its adapters when it begins, not when its format is compiled or its messages are rendered", async () => {
  await using own = tinyModel(
    { tokenizer: await tinyTokenizer() },
    { maxPositionEmbeddings: 1024, initializerRange: 0.2 },
  );
  await addAdapter(own, "x", 5);
  const options = { ...greedy, maxTokens: 12, responseFormat: { type: "regex", pattern: "[a-z ]{40}" } as const };
  const messages = [{ role: "user", content: "The cat" }];
  const inSession = () => {
    const session = own.session();
    return session.complete("The cat", options).finally(() => session.dispose());
  };
  const calls: [string, () => PromiseLike<{ logprobs: readonly number[] }>][] = [
    ["complete", () => own.complete("The cat", options)],
    ["completeAll", () => own.completeAll(["The cat", "The dog"], options).then((all) => all[1]!)],
    ["generate", () => own.generate("The cat", options)],
    ["respond", () => own.respond(messages, greedy)],
    ["respond in a format", () => own.respond(messages, options)],
    ["session", inSession],
  ];
  for (const [name, call] of calls) {
    const { logprobs: through } = await call();
    const answer = call().then(({ logprobs }) => logprobs); // begins the call
    own.setActiveAdapters([]);
    expect(await answer, name).toEqual(through);
    expect((await call()).logprobs, name).not.toEqual(through);
    own.setActiveAdapters(["x"]);
  }
  expect(await own.completeAll([], options)).toEqual([]);
});

test("embed calls of an encoder also take weights and adapters synchronously, even after a change of adapters", async () => {
  const encoder = { modelType: "bert", numKeyValueHeads: 4, initializerRange: 0.2, maxPositionEmbeddings: 512 };
  await using own = await adapted(encoder);
  const texts = Array.from({ length: 9 }, (_, i) => idsFrom(i, 300)); // several runs
  const call = () => own.embed(texts);
  const through = await call();
  own.setActiveAdapters([]);
  const base = await call();
  expect(base[0]).not.toEqual(through[0]);
  own.setActiveAdapters(["x"]);
  expect(await call()).toEqual(through);
  const before = call();
  own.removeAdapter("x");
  expect(await before).toEqual(through);
  expect(await call()).toEqual(base);
});

describe("sessions", () => {
  const answer = async (session: Session) => (await session.complete(prompt, greedy)).tokens;

  test("recompute their cache after training, and only then", async () => {
    await using own = tinyModel({}, { maxPositionEmbeddings: 1024 });
    using session = own.session();
    const before = await answer(session);
    expect((await session.complete([...prompt, 7], greedy)).usage.cachedTokens).toBe(90);
    await own.model.addAdapter("unused", { r: 2 });
    own.setActiveAdapters([]);
    expect((await session.complete([...prompt, 8], greedy)).usage.cachedTokens).toBe(90);
    await train(own);
    expect(session.tokens.length).toBeGreaterThan(90);
    const { usage, tokens } = await session.complete([...prompt, 8], greedy);
    expect(usage.cachedTokens).toBe(0);
    expect(tokens).toEqual((await own.complete([...prompt, 8], greedy)).tokens);
    expect(await answer(session)).not.toEqual(before);
  });

  test("do not reuse the cache of a call during which the model was trained", async () => {
    await using own = tinyModel({}, { maxPositionEmbeddings: 1024 });
    using session = own.session();
    let pieces = 0;
    for await (const _ of session.generate(prompt, { ...greedy, maxTokens: 30 })) if (++pieces === 5) await train(own);
    expect(pieces).toBe(30);
    expect((await session.complete(prompt, greedy)).usage.cachedTokens).toBe(0);
    expect(await answer(session)).toEqual((await own.complete(prompt, greedy)).tokens);
  });

  test("keep the adapters they name when these are merged or unmerged, and reject calls after one is removed", async () => {
    await using own = await adapted();
    await addAdapter(own, "y", 40);
    using session = own.session({ adapters: ["y"] });
    using base = own.session({ adapters: [] });
    const [through, without] = [await answer(session), await answer(base)];
    own.setActiveAdapters(["x"]);
    expect((await session.complete([...prompt, 1], greedy)).usage.cachedTokens).toBe(90);
    expect(await answer(session)).toEqual(through);
    own.setActiveAdapters(["y"]);
    await own.mergeAdapter("y");
    const merged = (await own.complete(prompt, { ...greedy, adapters: [] })).tokens;
    expect(await answer(session)).toEqual(merged);
    expect(await answer(base)).toEqual(merged);
    own.unmergeAdapters();
    expect(await answer(session)).toEqual(through);
    expect(await answer(base)).toEqual(without);
    own.removeAdapter("y");
    const held = [...session.tokens];
    expect(await failureOf(() => answer(session))).toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringMatching(/adapter: expected an adapter of this model \(x\), got "y"/),
    });
    expect(session.tokens).toEqual(held);
  });

  test("are outdated if forked from an outdated session", async () => {
    await using own = await adapted();
    using session = own.session();
    await answer(session);
    await own.mergeAdapter("x");
    using fork = await session.fork();
    own.unmergeAdapters();
    const { usage, tokens } = await fork.complete([...prompt, 4], greedy);
    expect(usage.cachedTokens).toBe(0);
    expect(tokens).toEqual((await own.complete([...prompt, 4], greedy)).tokens);
  });

  test("sessions with an outdated cache cannot be saved; a chat is saved without its cache", async () => {
    await using own = tinyModel({ tokenizer: await tinyTokenizer() }, { maxPositionEmbeddings: 512 });
    const [path, kept] = [join(folder, "session"), join(folder, "chat")];
    using session = own.session();
    using chat = own.chat();
    await answer(session);
    await chat.send("The cat", greedy);
    await train(own);
    expect(await failureOf(() => session.save(path))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/session: the model.s weights or adapters changed .* truncate\(\) drops them/),
    });
    await chat.save(kept);
    using again = await own.loadChat(kept);
    expect(again.messages).toEqual(chat.messages);
    const [a, b] = [await again.send("The dog", greedy), await chat.send("The dog", greedy)];
    expect(a.text).toBe(b.text);
    await answer(session);
    await session.save(path);
    using loaded = await own.loadSession(path);
    expect(loaded.tokens).toEqual(session.tokens);
    await train(own);
    session.truncate();
    await session.save(path);
    expect((await failureOf(() => loaded.save(path))).code).toBe("INVALID_ARGUMENT");
  });

  test("sessions from a file use the adapters named in the file, or else the active ones", async () => {
    await using own = await adapted();
    await addAdapter(own, "y", 40);
    const [path, following] = [join(folder, "named"), join(folder, "following")];
    using named = own.session({ adapters: ["y"] });
    using all = own.session();
    const through = await answer(named);
    await answer(all);
    await named.save(path);
    await all.save(following);
    own.setActiveAdapters(["x"]);
    using again = await own.loadSession(path);
    expect((await again.complete([...prompt, 1], greedy)).usage.cachedTokens).toBe(90);
    expect(await answer(again)).toEqual(through);
    using follows = await own.loadSession(following);
    expect((await follows.complete(prompt, greedy)).tokens).toEqual((await own.complete(prompt, greedy)).tokens);
  });
});

test("replaced tensors are freed when no running call and no idle session holds them", async () => {
  await using own = await adapted();
  const tensors = adapterTensors(own.model.adapters.get("x")!).map((name) => own.model.weight(name));
  const isLive = () =>
    tensors.every((t) => {
      try {
        return t.native.bytes > 0;
      } catch {
        return false;
      }
    });
  using session = own.session();
  await session.complete([1], greedy);
  for await (const _ of own.generate(prompt, greedy)) {
    if (own.model.adapters.size > 0) own.removeAdapter("x");
    expect(isLive()).toBe(true);
  }
  expect(isLive()).toBe(true); // the session's next call releases them
  await session.complete([1], greedy);
  expect(isLive()).toBe(false);
});
