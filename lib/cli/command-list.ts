import type { CommandTable } from "./command.ts";

/** All commands. Each is loaded on first use, so `heddle --help` loads no native code. */
export const commands: CommandTable = {
  generate: {
    about: "generate text from a prompt",
    load: async () => (await import("./commands/generate.ts")).command,
  },
  chat: { about: "chat with a model", load: async () => (await import("./commands/chat.ts")).command },
  classify: {
    about: "classify a text and print probabilities",
    load: async () => (await import("./commands/classify.ts")).command,
  },
  embed: { about: "compute the embedding of a text", load: async () => (await import("./commands/embed.ts")).command },
  logits: { about: "print a model's logits", load: async () => (await import("./commands/logits.ts")).command },
  tokenize: { about: "convert text to token ids", load: async () => (await import("./commands/tokenize.ts")).command },
  tokenizer: {
    about: "train tokenizers",
    load: async () => ({
      about: "train tokenizers",
      commands: {
        train: {
          about: "train a tokenizer on text files",
          load: async () => (await import("./commands/tokenizer-train.ts")).command,
        },
      },
    }),
  },
  pull: {
    about: "fetch a model from the Hugging Face Hub",
    load: async () => (await import("./commands/pull.ts")).command,
  },
  models: {
    about: "list the models of the shared cache and of Ollama, or remove one",
    load: async () => (await import("./commands/models.ts")).command,
  },
  train: {
    about: "train a model with one of the training stages",
    load: async () => (await import("./commands/train.ts")).group,
  },
  report: {
    about: "draw the charts of training runs",
    load: async () => (await import("./commands/report.ts")).command,
  },
  eval: { about: "evaluate a model on held-out data", load: async () => (await import("./commands/eval.ts")).command },
  rank: {
    about: "collect human preferences between answers",
    load: async () => (await import("./commands/rank.ts")).command,
  },
  serve: {
    about: "serve models over HTTP, with the APIs of OpenAI, Anthropic and Ollama",
    load: async () => (await import("./commands/serve.ts")).command,
  },
  lifecycle: {
    about: "train a small model through all stages and write a report",
    load: async () => (await import("./commands/lifecycle.ts")).command,
  },
  convert: {
    about: "convert between safetensors folders and GGUF files",
    load: async () => (await import("./commands/convert.ts")).command,
  },
  bench: {
    about: "benchmark this build; optionally fail on regressions",
    load: async () => (await import("./commands/bench.ts")).command,
  },
  autotune: {
    about: "find the fastest CUDA kernels for a model",
    load: async () => (await import("./commands/autotune.ts")).command,
  },
  info: {
    about: "show information about the build, the machine and a model",
    load: async () => (await import("./commands/info.ts")).command,
  },
  completion: {
    about: "print a script that completes commands in a shell",
    load: async () => (await import("./commands/completion.ts")).command,
  },
  doctor: {
    about: "check whether heddle can run on this machine",
    load: async () => (await import("./commands/doctor.ts")).command,
  },
};
