// Type-checked against the installed package's declarations, as ES module and as CommonJS.
import {
  createModel,
  createModelAsync,
  HeddleError,
  type HeddleErrorCode,
  LanguageModel,
  type LogitProcessor,
  type StopCondition,
  sft,
} from "heddle";
import {
  add,
  type CustomConfig,
  type DeviceInfo,
  decoderFamily,
  deviceInfo,
  type FamilyDefinition,
  readRows,
  registerFamily,
  reshape,
  rotateHeads,
  type TrainOptions,
  type Value,
} from "heddle/graph";
import { type ModelServer, serve } from "heddle/serve";
import { Tokenizer } from "heddle/tokenizer";

export async function complete(): Promise<string> {
  const model = await LanguageModel.load("default");
  let text = "";
  for await (const piece of model.generate("The", { maxTokens: 2, temperature: 0 })) text += piece.text;
  const ids: Uint32Array = (await Tokenizer.load("folder")).encode("a");
  const code: HeddleErrorCode = new HeddleError("IO", "x").code;
  return text + ids.length + code;
}

/** Optional values may be passed on as undefined. */
export async function handOn(model: LanguageModel, seed: number | undefined, side: "left" | "right" | undefined) {
  const tokenizer = await Tokenizer.train(["a"], { vocabSize: 300, minFrequency: seed, lowercase: undefined });
  const ids = tokenizer.encode("a", { seed, dropout: undefined, addSpecialTokens: undefined });
  const input = await tokenizer.encodeInputs(["a"], { padding: { side, to: undefined }, truncation: undefined });
  const chat = model.chat({ system: undefined, tools: undefined, variables: undefined });
  return [ids, input, tokenizer.decode(ids, { skipSpecialTokens: undefined }), chat.send("a", { seed })];
}

/** The same holds for family options. */
export const handed = (scale: number | undefined) =>
  decoderFamily({
    flags: { norms: undefined, names: { head: undefined } },
    shape: () => ({ residualScale: scale }),
    logits: () => ({ scale, softcap: undefined }),
  });

export async function start(): Promise<string> {
  const server: ModelServer = await serve(await LanguageModel.load("default"), { port: 0, apiKeys: ["secret"] });
  await server.close();
  return server.url;
}

export const isa = ({ cpu }: DeviceInfo = deviceInfo()): string => cpu.isa;

export const twice = (x: Value): Value => add(x, x);

type Values = { scale: number; gated: boolean; sizes: readonly number[] };
/** A family's custom values have the widened types of their defaults. */
export const family: FamilyDefinition<Values> = {
  modelType: "mine",
  architecture: "MineForCausalLM",
  custom: { scale: 1, gated: false, sizes: [] },
  gguf: undefined,
  weights({ custom, hiddenSize }: CustomConfig<Values>) {
    const width: number = custom.gated ? custom.scale * hiddenSize : custom.sizes.length;
    return new Map([["a.weight", { shape: [width, hiddenSize], init: "normal" as const }]]);
  },
  forward: (context, config) => {
    const heads = reshape(context.linear(context.weight("a.weight"), "b"), [4, 2, 8]);
    return rotateHeads(context, config, 0, heads);
  },
};

export async function steer(model: LanguageModel, stops: readonly StopCondition[], signal: AbortSignal | undefined) {
  registerFamily(family);
  registerFamily({
    modelType: "other",
    architecture: "OtherForCausalLM",
    custom: { deep: true },
    weights: ({ custom }) => (custom.deep ? new Map() : new Map()), // inferred: a boolean, not `true`
    forward: ({ ids }) => ids,
  });
  registerFamily({
    modelType: "near",
    architecture: "NearForCausalLM",
    custom: { scale: 1 },
    ...decoderFamily<{ scale: number }>({
      shape: ({ custom }, { rotary }) => ({ residualScale: custom.scale, rotary }),
    }),
  });
  // Callbacks of training get the given model, with its type.
  const evaluate = async (at: { model: LanguageModel }) => ({ length: (await at.model.complete("x")).text.length });
  sft(await LanguageModel.load("default"), { data: "rows.jsonl", evaluate });
  sft(model, {
    data: "rows.jsonl",
    evaluate: async ({ model }) => ({ top: (await model.complete("x")).usage.promptTokens }),
  });
  createModel({ modelType: "mine", hiddenSize: 8, numHiddenLayers: 1, custom: { gated: true } }, { seed: 1 });
  await createModelAsync({ modelType: "llama", hiddenSize: 8, numHiddenLayers: 1 }, { signal, onProgress: undefined });
  const forbid: LogitProcessor = (logits, { ids }) => logits.fill(-Infinity, 0, ids.length);
  const options: TrainOptions = { maxSteps: 1, lrScheduler: ({ step, maxSteps }) => step / maxSteps };
  for await (const { value, where } of readRows([{ text: "a" }], { signal })) console.log(value.text, where, options);
  return model.complete("a", { logitProcessors: [forbid], stop: ["x", 3, ...stops, ({ text }) => text.length > 3] });
}
