// Decides which files of a repository heddle needs, and what kind of model they are.
import { basename } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from "../formats/adapter-config.ts";
import { HEAD_CONFIG_FILE } from "../formats/config/heads.ts";
import { MODEL_CARD_FILE } from "../formats/model-card.ts";
import { TEXT_LIMIT_FILES } from "../formats/sentence-transformers/names.ts";
import { NAMED_TEMPLATES, TOKENIZER_FILES, VOCABULARY_FILES } from "../formats/tokenizer-files.ts";
import { groupGgufs, isOtherGguf, onlyGguf } from "./gguf-choice.ts";

/** The kind of model that a repository's files form. */
export type ModelKind = "safetensors" | "gguf" | "adapter" | "tokenizer";

/** The files of a model. */
export interface ModelSelection {
  kind: ModelKind;
  files: string[];
  /** The file to open, for a GGUF model. Other models are opened by their folder. */
  main?: string;
}

const SETTINGS: ReadonlySet<string> = new Set([
  ...TOKENIZER_FILES,
  "config.json",
  "generation_config.json",
  "modules.json",
  "config_sentence_transformers.json",
  ...TEXT_LIMIT_FILES,
  HEAD_CONFIG_FILE,
  MODEL_CARD_FILE,
]);
const VOCABULARIES: ReadonlySet<string> = new Set(VOCABULARY_FILES);
/** The files in a folder of a sentence-transformers module, such as `1_Pooling`. */
const MODULE_FILE = /^\d+_[A-Za-z]+\/([^/]+)$/;
const SHARD = /^model-\d{5}-of-\d{5}\.safetensors$/;
const INDEX = "model.safetensors.index.json";

/**
 * Selects the files that heddle needs from the paths of all files of a repository. Prefers safetensors to GGUF unless a tag is given. Without a
 * tag, chooses a common quantization among several GGUF files.
 * @throws HeddleError UNSUPPORTED names the kind of a repository that heddle cannot load; INVALID_ARGUMENT if a tag
 * is needed, or fits no file
 */
export function selectFiles(
  paths: readonly string[],
  { name, tag }: { name: string; tag?: string | undefined },
): ModelSelection {
  const there = new Set(paths);
  if (there.has("model_index.json")) throw unsupported(name, "a diffusers pipeline (model_index.json)");
  if (tag === undefined) {
    const settings = paths.filter(isSetting);
    if (there.has(ADAPTER_CONFIG_FILE) && !there.has("config.json")) {
      if (!there.has(ADAPTER_WEIGHTS_FILE))
        throw unsupported(name, `an adapter without ${ADAPTER_WEIGHTS_FILE}${otherWeights(paths)}`);
      return { kind: "adapter", files: [...settings, ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE] };
    }
    const weights = safetensorsOf(paths, there);
    if (weights.length > 0) {
      if (!paths.some((path) => /^(0_Transformer\/)?config\.json$/.test(path)))
        throw unsupported(name, `safetensors without config.json (${weights[0]})`);
      return { kind: "safetensors", files: [...settings, ...weights] };
    }
  }
  const groups = groupGgufs(paths.filter((path) => path.endsWith(".gguf") && !isOtherGguf(path)));
  if (groups.length > 0) {
    const files = onlyGguf(groups, { name, tag });
    return { kind: "gguf", files, main: files[0]! };
  }
  if (tag !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `${name}: expected a repository with GGUF files for :${tag}, got none`);
  const foreign = foreignKind(paths);
  if (foreign !== undefined) throw unsupported(name, foreign);
  if (!VOCABULARY_FILES.some((file) => there.has(file)))
    throw unsupported(name, paths.length === 0 ? "an empty repository" : "none of these");
  return { kind: "tokenizer", files: paths.filter(isSetting) };
}

/** Whether a model's file has a vocabulary, also one in the folder of a sentence-transformers module. */
export function isVocabulary(path: string): boolean {
  return isSetting(path) && (VOCABULARIES.has(basename(path)) || path.endsWith(".tiktoken"));
}

/** Whether a file is read in addition to the weights: a configuration, a tokenizer's file, or a chat template. */
function isSetting(path: string): boolean {
  if (SETTINGS.has(path) || path.endsWith(".tiktoken")) return true;
  if (path.startsWith(`${NAMED_TEMPLATES}/`)) return path.endsWith(".jinja");
  const [, file] = MODULE_FILE.exec(path) ?? [];
  return file !== undefined && SETTINGS.has(file);
}

/**
 * Returns the safetensors files of the model and of its sentence-transformers modules. A repository may have several copies of the weights,
 * in one file or in shards. Only one copy is returned.
 */
function safetensorsOf(paths: readonly string[], there: ReadonlySet<string>): string[] {
  const modules = paths.filter((path) => MODULE_FILE.exec(path)?.[1] === "model.safetensors");
  if (there.has("model.safetensors")) return ["model.safetensors", ...modules];
  const all = paths.filter((path) => path.endsWith(".safetensors") && !path.includes("/"));
  if (there.has(INDEX)) {
    const shards = all.filter((path) => SHARD.test(path));
    return [INDEX, ...(shards.length > 0 ? shards : all), ...modules];
  }
  if (all.length === 1) return [...all, ...modules];
  return modules.some((path) => path.startsWith("0_Transformer/")) ? modules : all;
}

const FOREIGN: readonly (readonly [kind: string, pattern: RegExp])[] = [
  ["PyTorch weights", /\.(bin|pt|pth|ckpt)$/],
  ["ONNX", /\.onnx(_data)?$/],
  ["TensorFlow weights", /\.(h5|tflite|pb)$/],
  ["Flax weights", /\.msgpack$/],
  ["Core ML", /\.(mlmodel|mlpackage)(\/|$)/],
  ["NumPy weights", /\.np[yz]$/],
  ["OpenVINO", /openvino.*\.xml$/],
];

function foreignKind(paths: readonly string[]): string | undefined {
  const found = FOREIGN.flatMap(([kind, pattern]) => {
    const path = paths.find(
      (each) => pattern.test(each) && !/(^|\/)(training_args|optimizer|scheduler)\.(bin|pt)$/.test(each),
    );
    return path === undefined ? [] : [`${kind} (${path})`];
  });
  return found.length > 0 ? found.join(", ") : undefined;
}

function otherWeights(paths: readonly string[]): string {
  const foreign = foreignKind(paths);
  return foreign === undefined ? "" : `, with ${foreign}`;
}

function unsupported(name: string, kind: string): HeddleError {
  return new HeddleError("UNSUPPORTED", `${name}: expected safetensors with config.json, or GGUF files, got ${kind}`);
}

/** Returns the first missing part of a list of files, such as `model-00002-of-00003.safetensors`. Each part's name has the count of parts. */
export function missingPart(files: readonly string[]): string | undefined {
  const there = new Set(files);
  for (const file of files) {
    const [, prefix, count, ending] = /^(.*)-\d{5}-of-(\d{5})(\.(?:safetensors|gguf))$/.exec(file) ?? [];
    if (prefix === undefined) continue;
    for (let i = 1; i <= Number(count); i++) {
      const part = `${prefix}-${String(i).padStart(5, "0")}-of-${count}${ending}`;
      if (!there.has(part)) return part;
    }
  }
  // If there is an index but no safetensors file, all shards are missing.
  const onlyIndex = there.has(INDEX) && !files.some((file) => file.endsWith(".safetensors"));
  return onlyIndex ? "the shards of model.safetensors.index.json" : undefined;
}
