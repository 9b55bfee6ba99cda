// Names of built-in JavaScript properties are handled like any other name, wherever a caller or a file provides one.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { HeddleError } from "../../lib/core/errors.ts";
import { compareClassifiers } from "../../lib/eval/index.ts";
import { ropeScalingFromJson, ropeScalingToJson } from "../../lib/formats/config/rope-scaling.ts";
import { GgufMetadata } from "../../lib/formats/gguf/gguf-metadata.ts";
import { writeGguf } from "../../lib/formats/gguf/gguf-write.ts";
import { modelCardFromGguf, modelCardToGguf, parseModelCard, readModelCard } from "../../lib/formats/model-card.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { compile, input, openDevice, scale, Tensor, tensor } from "../../lib/graph/index.ts";
import type { Stage } from "../../lib/graph-entry.ts";
import { LanguageModel, type ModelCard, sft, Tokenizer, trainClassifier } from "../../lib/index.ts";
import { messagesOf } from "../../lib/serve/core/messages.ts";
import { refusalOf } from "../../lib/serve/http/http-error.ts";
import { openai } from "../../lib/serve/openai/dialect.ts";
import { MetricMeans } from "../../lib/train/loop/metric-mean.ts";
import { metricsOf } from "../../lib/train/loop/stage.ts";
import { readTrainingConfig } from "../../lib/train/options/config-file.ts";
import type { DrawnAnswer } from "../../lib/train/rollout/draw.ts";
import { pack, unpack } from "../../lib/train/rollout/pack.ts";
import { Judge, type RewardFunction, type RewardInput } from "../../lib/train/rollout/rewards.ts";
import { saveWeights } from "../formats/write-weights.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-names-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** An object with a single own property. */
const only = <T>(name: string, value: T): Record<string, T> => Object.fromEntries([[name, value]]);
const ownOf = (object: object, name: string): unknown => Object.getOwnPropertyDescriptor(object, name)?.value;
const ones = Float32Array.of(1, 1);
const stored = (name: string) => ({ name, dtype: "f32" as const, shape: [2], bytes: new Uint8Array(ones.buffer) });
const short = { maxSteps: 1, perDeviceTrainBatchSize: 2, maxSeqLength: 32, seed: 1 };

/** The small tokenizer with the given chat templates. */
async function tokenizerWith(chatTemplate: unknown): Promise<Tokenizer> {
  const files = (await tinyTokenizer()).files();
  const config = { ...JSON.parse(files["tokenizer_config.json"]!), chat_template: chatTemplate };
  return Tokenizer.fromFiles({ tokenizer: files["tokenizer.json"]!, tokenizerConfig: JSON.stringify(config) });
}

const cases: Record<string, (name: string) => unknown> = {
  async "a program's inputs, tensors and results"(name) {
    const run = compile(() => only(name, scale(input(name, "f32", [2]), 2))).bind(openDevice(), new Map());
    expect(ownOf(await run.run(only(name, ones)), name)).toEqual(Float32Array.of(2, 2));
    expect(await failureOf(() => run.run({}))).toEqual({
      code: "INVALID_ARGUMENT",
      message: `run: expected an input ${name}, got none`,
    });
    const held = compile(() => ({ y: scale(tensor(name, "f32", [2]), 3) }));
    const bound = held.bind(openDevice(), new Map([[name, await Tensor.from(openDevice(), "f32", [2], ones)]]));
    expect((await bound.run({})).y).toEqual(Float32Array.of(3, 3));
  },
  async "an unknown element type"(name) {
    const message = expect.stringMatching(/^dtype: expected one of f32, .* got "/);
    expect(await failureOf(() => Tensor.zeros(openDevice(), name as "f32", [2]))).toMatchObject({ message });
  },
  async "an unknown field of a model card"(name) {
    const strange = only(name, { polluted: true, stage: "x" });
    const given = { stage: "sft", ...strange, data: [{ name: "a", ...strange }] };
    const expected = parseModelCard({ stage: "sft", data: [{ name: "a" }] });
    const at = await mkdtemp(join(folder, "card-"));
    await writeFile(join(at, "model_card.json"), JSON.stringify(given));
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    // Like any unknown field, one of this name is dropped from files, from given cards and from repaired cards.
    const mended = join(at, "mended");
    await mkdir(mended);
    await writeFile(join(mended, "model_card.json"), JSON.stringify({ ...given, trainingCutoffDate: "2023-02-30" }));
    const warned = vi.spyOn(process, "emitWarning").mockReturnValue();
    const cards = [await readModelCard(at), parseModelCard(given), await readModelCard(mended)];
    warned.mockRestore();
    await sft(model, { ...short, data: [{ text: "The cat saw the sea" }], card: { ...strange, notes: "n" } });
    cards.push(modelCardFromGguf(new GgufMetadata(modelCardToGguf(given as ModelCard), "x.gguf")));
    for (const card of cards) {
      expect(card).toStrictEqual(expected);
      expect([Object.getPrototypeOf(card), ownOf(card!, name)]).toEqual([Object.prototype, undefined]);
      expect(ownOf(card!.data[0]!, name)).toBeUndefined();
    }
    expect(model.card).toMatchObject({ stage: "sft", notes: "n" });
    expect([Object.getPrototypeOf(model.card), ownOf(model.card!, name)]).toEqual([Object.prototype, undefined]);
    expect((Object.prototype as { polluted?: unknown }).polluted).toBeUndefined();
  },
  async "a tensor of a sharded safetensors folder"(name) {
    const at = join(folder, name);
    await mkdir(at);
    await saveWeights(at, [stored(name), stored("other")], { maxShardBytes: 8, metadata: only(name, "kept") });
    const weights = await openWeights(at);
    expect(weights.names().sort()).toEqual([name, "other"].sort());
    expect(weights.metadata.get(name)).toBe("kept");
    weights.close();
  },
  async "a GGUF file's tensor and metadata"(name) {
    const path = join(folder, "x.gguf");
    await writeGguf(path, { metadata: new Map([[name, { type: "string", value: "kept" }]]), tensors: [stored(name)] });
    const weights = await openWeights(path);
    expect(weights.info(name).shape).toEqual([2]);
    expect(ownOf(weights.gguf!.record(), name)).toBe("kept");
    weights.close();
  },
  async "an unknown family or activation"(name) {
    const expected = { code: expect.stringMatching(/^(INVALID_ARGUMENT|UNSUPPORTED)$/) };
    expect(await failureOf(() => tinyModel({}, { modelType: name }))).toMatchObject(expected);
    expect(await failureOf(() => tinyModel({}, { hiddenAct: name }))).toMatchObject(expected);
  },
  "a key of rope_scaling"(name) {
    const read = ropeScalingFromJson({ rope_type: "linear", factor: 2, ...only(name, 3) }, "config.json")!;
    expect(Object.entries(read).sort()).toEqual(
      [
        ["factor", 2],
        ["ropeType", "linear"],
        [name, 3],
      ].sort(),
    );
    const written = ropeScalingToJson({ ropeType: "linear", factor: 2, ...only(name, 3) } as never);
    expect(Object.keys(written).sort()).toEqual([name, "factor", "rope_type"].sort());
  },
  async "an unknown option"(name) {
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    const refused = { code: "INVALID_ARGUMENT", message: expect.stringContaining(name) };
    const given = only(name, 1);
    for (const call of [
      () => model.complete("a", given as never),
      () => model.session(given as never),
      () => sft(model, { ...short, data: [{ text: "a" }], ...given } as never),
      () => sft(model, { ...short, data: [{ text: "a" }], lora: given } as never),
      () => model.tokenizer!.encode("a", given as never),
      () => LanguageModel.load("default", given as never),
    ])
      expect(await failureOf(call)).toMatchObject(refused);
    const path = join(folder, "config.json");
    await writeFile(path, `{"data": "x", ${JSON.stringify(name)}: 1, "lora": {${JSON.stringify(name)}: 1}}`);
    const { options } = await readTrainingConfig(path);
    expect(ownOf(options, name)).toBe(1);
    expect(ownOf(options.lora as object, name)).toBe(1);
  },
  async "a chat template of tokenizer_config.json"(name) {
    const tokenizer = await tokenizerWith([{ name, template: "mine" }]);
    expect(tokenizer.applyChatTemplate([], { template: name }).text).toBe("mine");
    const saved = Tokenizer.fromFiles({
      tokenizer: tokenizer.files()["tokenizer.json"]!,
      tokenizerConfig: tokenizer.files()["tokenizer_config.json"]!,
    });
    expect(saved.applyChatTemplate([], { template: name }).text).toBe("mine");
    const none = await tinyTokenizer();
    expect(await failureOf(() => none.applyChatTemplate([], { template: name }))).toMatchObject({ code: "NOT_FOUND" });
  },
  "a GGUF vocabulary's chat template and BOS token"(name) {
    const record = Object.fromEntries([
      ["tokenizer.ggml.model", "llama"],
      ["tokenizer.ggml.tokens", ["<unk>", name, "a"]],
      ["tokenizer.ggml.scores", Float32Array.of(0, 0, 0)],
      ["tokenizer.ggml.token_type", Int32Array.of(2, 3, 1)],
      ["tokenizer.ggml.bos_token_id", 1],
      ["tokenizer.ggml.add_bos_token", true],
      [`tokenizer.chat_template.${name}`, "mine"],
    ]);
    const tokenizer = Tokenizer.fromGguf(record);
    expect([...tokenizer.encode("a")][0]).toBe(1);
    expect(tokenizer.applyChatTemplate([], { template: name }).text).toBe("mine");
  },
  async "a template's variable, a message's field, a property of a tool"(name) {
    const template = `{{ ${name} }}{{ messages[0].${name} }}{{ messages[1].${name} }}{{ tools[0] | tojson }}`;
    const tokenizer = await tokenizerWith(template);
    const properties = only(name, { type: "string" });
    const messages = [
      { role: "user", content: "", ...only(name, "field") },
      { role: "user", content: "" },
    ];
    const options = { variables: only(name, "variable"), tools: [properties] };
    expect(tokenizer.applyChatTemplate(messages, options).text).toBe(`variablefield${pythonJson(properties)}`);
    await using model = tinyModel({ tokenizer });
    using chat = model.chat(options);
    expect(JSON.stringify(chat)).toContain(JSON.stringify(options.variables));
  },
  "a tool call's argument in a request, and of a parameter in an error message"(name) {
    const call = { function: { name: "f", arguments: only(name, 1) } };
    const message = { role: "assistant", content: null, tool_calls: [call] };
    const [read] = messagesOf([message], {} as LanguageModel);
    expect(JSON.stringify(read)).toContain(JSON.stringify(only(name, 1)));
    expect(
      refusalOf(new HeddleError("INVALID_ARGUMENT", `${name}: expected x, got y`), openai.parameterNames).message,
    ).toBe(`${name}: expected x, got y`);
  },
  async "a classifier's label"(name) {
    const data = [
      { text: "the cat", label: name },
      { text: "the dog", label: "other" },
    ];
    const at = join(folder, `classifier-${name}`);
    const lossOf = async (classWeights: Record<string, number>) => {
      await using model = tinyModel({ tokenizer: await tinyTokenizer() });
      return (await trainClassifier(model, { ...short, data, classWeights, outputDir: at, overwriteOutputDir: true }))
        .loss;
    };
    // The loss is the mean of both rows' losses, weighted by label. With the weight 1e-9 it is the loss of the other row. The two losses
    // give the expected mean for the weight 3.
    const equal = await lossOf({ other: 1, ...only(name, 1) });
    const rare = await lossOf({ other: 1, ...only(name, 3) });
    const none = await lossOf({ other: 1, ...only(name, 1e-9) });
    expect([equal, rare, none].every(Number.isFinite)).toBe(true);
    expect(Math.abs(none - equal)).toBeGreaterThan(0.1);
    expect(rare).toBeCloseTo((3 * (2 * equal - none) + none) / 4, 4);
    // A label without a weight has the weight 1.
    expect(await lossOf({ other: 1 })).toBe(equal);
    await using loaded = await LanguageModel.load(at);
    expect(loaded.config.classifier!.labels.toSorted()).toEqual([name, "other"].toSorted());
    const { probabilities } = await loaded.classify("the cat");
    expect(ownOf(probabilities, name)).toBeGreaterThan(0);
  },
  async "a label that a classifier does not have"(name) {
    const config = { classifier: { task: "sequence", labels: ["a", "b"] } };
    await using model = tinyModel({ tokenizer: await tinyTokenizer() }, config);
    const rows = [{ text: "the cat", label: name }];
    const models = [{ name: "it", kind: "discriminative" as const, model }];
    const [row] = await compareClassifiers(models, rows, { labels: ["a", name] });
    expect(row).toMatchObject({ accuracy: 0, count: 1 });
    expect(row!.nll).toBeGreaterThan(100);
  },
  async "an adapter"(name) {
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    await sft(model, { ...short, data: [{ text: "the cat" }, { text: "the dog" }], lora: { r: 2 }, adapter: name });
    const at = join(folder, `adapter-${name}`);
    await model.saveAdapter(at, { name });
    await using other = tinyModel({ tokenizer: await tinyTokenizer() });
    expect(await failureOf(() => other.complete("a", { adapters: [name] }))).toMatchObject({
      message: expect.stringContaining(name),
    });
    await other.loadAdapter(at, { name });
    const options = { adapters: [name], maxTokens: 4, temperature: 0 };
    expect((await other.complete("the", options)).tokens).toEqual((await model.complete("the", options)).tokens);
  },
  async "a field of a row that a reward function is given"(name) {
    const prompt = (columns: object) => ({ given: "", columns, where: "row" });
    const drawn = [prompt(only(name, 1)), prompt({})].map((of) => ({
      prompt: of,
      text: "",
      answer: { ids: Int32Array.of(0), promptLength: 1 },
    })) as unknown as DrawnAnswer[];
    let seen: RewardInput | undefined;
    const reward: RewardFunction = (given) => {
      seen = given;
      return [0, 0];
    };
    const judge = new Judge([reward], undefined, {} as LanguageModel);
    await judge.scores(drawn, undefined);
    expect(ownOf(seen!, name)).toEqual([1, undefined]);
  },
  "a field of a row in a checkpoint"(name) {
    const value = { a: only(name, Int32Array.of(1)), b: only(`$${name}`, [1]) };
    expect(unpack(JSON.parse(JSON.stringify(pack(value))))).toEqual(value);
  },
  "a metric"(name) {
    const micro = only(name, Float32Array.of(1));
    expect(ownOf(metricsOf({} as Stage<number>, [micro, micro], [0, 0]), name)).toBe(2);
    const means = new MetricMeans();
    means.add(only(name, 3), 2);
    means.add(only(name, 6), 1);
    expect(ownOf(means.of({}), name)).toBe(4);
  },
};

/** Returns the JSON that Jinja's tojson writes. */
const pythonJson = (value: unknown) => JSON.stringify(value).replaceAll(":", ": ");

describe.each(["__proto__", "constructor", "toString", "hasOwnProperty"])("%s", (name) => {
  test.each(Object.entries(cases))(
    "is handled like any other name of %s",
    async (_, holds) => void (await holds(name)),
  );
});
