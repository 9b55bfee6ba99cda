import type { CommandTable } from "./command.ts";

/** Every command. Each is loaded when it is used: `heddle --help` loads no native code. */
export const commands: CommandTable = {
  generate: { about: "continue a text", load: async () => (await import("./commands/generate.ts")).command },
  chat: { about: "talk with a model", load: async () => (await import("./commands/chat.ts")).command },
  classify: {
    about: "label a text, with probabilities",
    load: async () => (await import("./commands/classify.ts")).command,
  },
  embed: { about: "turn a text into a vector", load: async () => (await import("./commands/embed.ts")).command },
  logits: { about: "print a model's logits", load: async () => (await import("./commands/logits.ts")).command },
  tokenize: { about: "turn text into token ids", load: async () => (await import("./commands/tokenize.ts")).command },
  tokenizer: {
    about: "train tokenizers",
    load: async () => ({
      about: "train tokenizers",
      commands: {
        train: {
          about: "train a vocabulary on text files",
          load: async () => (await import("./commands/tokenizer-train.ts")).command,
        },
      },
    }),
  },
  train: { about: "train a model, stage by stage", load: async () => (await import("./commands/train.ts")).group },
  eval: { about: "measure a model on held-out text", load: async () => (await import("./commands/eval.ts")).command },
  rank: {
    about: "let people say which answers are better",
    load: async () => (await import("./commands/rank.ts")).command,
  },
  serve: {
    about: "serve a model over HTTP, as OpenAI's clients expect it",
    load: async () => (await import("./commands/serve.ts")).command,
  },
  lifecycle: {
    about: "the life of a small model, all stages, with a report",
    load: async () => (await import("./commands/lifecycle.ts")).command,
  },
  convert: {
    about: "convert between safetensors folders and GGUF files",
    load: async () => (await import("./commands/convert.ts")).command,
  },
  bench: {
    about: "measure this build on this machine; fail where it became slower",
    load: async () => (await import("./commands/bench.ts")).command,
  },
  autotune: {
    about: "measure which kernels of a CUDA device are fastest for a model",
    load: async () => (await import("./commands/autotune.ts")).command,
  },
  info: {
    about: "show this build, this machine, and a model",
    load: async () => (await import("./commands/info.ts")).command,
  },
};
