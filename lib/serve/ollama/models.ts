// GET /api/tags, /api/ps and /api/version, and POST /api/show
import { stat } from "node:fs/promises";
import { deviceInfo } from "../../graph/index.ts";
import { AnswerForm } from "../../language-model/chat/answer-format.ts";
import { type LanguageModel, modelPath } from "../../language-model/index.ts";
import { fimTokens } from "../../language-model/infill.ts";
import { type Exchange, sendAnswer } from "../core/context.ts";
import { loadFailure } from "../core/models.ts";
import { sendJson } from "../http/json-answer.ts";
import { type Description, describeFiles, describeLoaded } from "./description.ts";
import { modelName, taggedName } from "./request.ts";
import { parsed, showSchema } from "./schema.ts";

/** The time at which a model will be unloaded. The server unloads on demand, so the time is unknown, and this value is as late as possible. */
const NEVER = "9999-12-31T23:59:59Z";

/** Lists all models, also by their aliases. Only those that are loaded have sizes and details. */
export async function listTags(exchange: Exchange): Promise<void> {
  const { models } = exchange.service;
  const entries = models.names.map(async (name) => {
    const model = models.loadedAs(name);
    return { ...entryOf(name, model), modified_at: await modifiedAt(exchange, model) };
  });
  sendJson(exchange.response, 200, { models: await Promise.all(entries) });
}

/** Lists the models that are loaded. */
export function listLoaded({ service, response }: Exchange): void {
  const models = service.models.loaded.map(({ name, model }) => ({
    ...entryOf(name, model),
    expires_at: NEVER,
    size_vram: model.model.device.kind === "cpu" ? 0 : model.model.weightBytes,
    context_length: model.contextLength,
  }));
  sendJson(response, 200, { models });
}

/** Sends heddle's version. */
export function showVersion({ response }: Exchange): void {
  sendJson(response, 200, { version: deviceInfo().version });
}

/** Shows a model. A model that is not loaded is described from the headers of its files. */
export async function showModel(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const { model, name } = parsed(showSchema, body);
  const asked = modelName(service.models, model ?? name);
  const unloaded = service.models.unloaded(asked);
  if (unloaded) {
    const { contextLength, download } = unloaded.load;
    const description = async () => {
      // The download is outside of `encoding`, because it may take long, and prompts would wait for it.
      const path = await modelPath(unloaded.path, { download, signal });
      return service.encoding.run(() => describeFiles(path, { contextLength, signal }), signal);
    };
    const found = await description().catch((error: unknown) => {
      signal.throwIfAborted();
      throw loadFailure(unloaded.name, error);
    });
    if (found) return sendShown(exchange, unloaded.name, found);
  }
  await service.models.use(asked, signal, (served) => sendShown(exchange, served.name, describeLoaded(served.model)));
}

async function sendShown(exchange: Exchange, name: string, shown: Description): Promise<void> {
  await sendAnswer(exchange, {
    modelfile: `FROM ${name}\n`,
    parameters: parametersOf(shown),
    template: shown.tokenizer?.config.chatTemplates.default ?? "",
    details: detailsOf(shown),
    model_info: modelInfo(shown),
    capabilities: capabilitiesOf(shown),
    modified_at: await modifiedAt(exchange, shown),
  });
}

/** Returns a model's entry in a list. The digest is empty, because weights are not hashed. */
function entryOf(name: string, model: LanguageModel | undefined) {
  return {
    name: taggedName(name),
    model: taggedName(name),
    size: model?.model.weightBytes ?? 0,
    digest: "",
    details: detailsOf(model && describeLoaded(model)),
  };
}

function detailsOf(model: Description | undefined) {
  const family = model?.config.modelType ?? "";
  const format = model?.path === undefined ? "" : /\.gguf$/i.test(model.path) ? "gguf" : "safetensors";
  return {
    parent_model: "",
    format,
    family,
    families: model ? [family] : [],
    parameter_size: model ? sizeOf(model.parameterCount) : "",
    quantization_level: model?.dtype ?? "",
  };
}

/** Writes a number of parameters as Ollama does: 494.03M, 7.6B. */
function sizeOf(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)}B`;
  return count >= 1e6 ? `${(count / 1e6).toFixed(2)}M` : `${(count / 1e3).toFixed(2)}K`;
}

function modelInfo({ config, contextLength, parameterCount }: Description): Record<string, unknown> {
  const { modelType } = config;
  const own = {
    context_length: contextLength,
    embedding_length: config.hiddenSize,
    block_count: config.numHiddenLayers,
    feed_forward_length: config.intermediateSize,
    "attention.head_count": config.numAttentionHeads,
    "attention.head_count_kv": config.numKeyValueHeads,
    vocab_size: config.vocabSize,
  };
  return {
    "general.architecture": modelType,
    "general.parameter_count": parameterCount,
    ...Object.fromEntries(Object.entries(own).map(([name, value]) => [`${modelType}.${name}`, value])),
  };
}

function capabilitiesOf(model: Description): string[] {
  if (!model.generates) return ["embedding"];
  return [
    "completion",
    ...(canCall(model) ? ["tools"] : []),
    ...(model.tokenizer && fimTokens(model.tokenizer) ? ["insert"] : []),
    ...(new AnswerForm(model).canReason ? ["thinking"] : []),
  ];
}

/** Returns the model's sampling defaults, one per line, with Ollama's names. */
function parametersOf({ generation }: Description): string {
  const { temperature, topK, topP, minP, repetitionPenalty, maxNewTokens } = generation;
  const named = {
    temperature,
    top_k: topK,
    top_p: topP,
    min_p: minP,
    repeat_penalty: repetitionPenalty,
    num_predict: maxNewTokens,
  };
  const given = Object.entries(named).filter(([, value]) => value !== undefined);
  return given.map(([name, value]) => `${name.padEnd(30)} ${value}`).join("\n");
}

/** Returns the time of the model's files, or that of the server's start if it has none. */
async function modifiedAt({ service }: Exchange, model: { path?: string | undefined } | undefined): Promise<string> {
  const found = model?.path === undefined ? undefined : await stat(model.path).catch(() => undefined);
  return (found?.mtime ?? new Date(service.created * 1000)).toISOString();
}

/** Whether a model's chat template has a known format of tool calls. */
function canCall(model: Description): boolean {
  return new AnswerForm(model, { tools: [{ type: "function", function: { name: "any" } }] }).hasCalls;
}
