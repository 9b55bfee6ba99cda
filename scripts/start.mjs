// Loads the embedded model, which was trained with this package, and streams a completion and the answers of a chat.
//
//   npm start                       completes "The capital of France is", then chats
//   npm start -- "Once upon a time" completes this text too
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const PROMPT = "The capital of France is";
/** The last question is about a country that does not exist. */
const QUESTIONS = ["Hello!", "What is the capital of Japan?", "What is the capital of Velorstan?"];

function fail(message) {
  console.error(`heddle: ${message.replace(/^heddle: /, "").replaceAll("\n", " ")}`);
  process.exit(2);
}

const built = fileURLToPath(new URL("../dist/index.js", import.meta.url));
if (!existsSync(built)) fail("dist/index.js: the built package is missing; run `npm install` first");

/** Describes the model in one line: its stages, size, and training data according to its card. */
function describe({ card, config, model }) {
  const millions = (n) => (n >= 1e6 ? `${(n / 1e6).toFixed(1)} million` : `${n}`);
  const facts = [
    `${config.modelType}, ${millions(model.parameterCount)} parameters`,
    `context ${config.maxPositionEmbeddings}`,
  ];
  if (card?.tokensSeen) facts.push(`${millions(card.tokensSeen)} tokens seen`);
  if (card?.trainingCutoffDate) facts.push(`text until ${card.trainingCutoffDate}`);
  const stages = card?.stages?.map(({ stage }) => stage).join(", then ");
  const stage =
    card?.stage === "pretrain" ? "a base model: it continues text" : (stages ?? card?.stage ?? "no model card");
  return `${card?.name ?? "the embedded model"} (${stage}; ${facts.join(", ")})`;
}

async function stream(model, prompt) {
  console.log();
  process.stdout.write(prompt);
  let tokens = 0;
  const started = performance.now();
  for await (const piece of model.generate(prompt, { maxTokens: 48, temperature: 0, contextOverflow: "stop" })) {
    process.stdout.write(piece.text);
    tokens++;
  }
  const seconds = (performance.now() - started) / 1000;
  process.stdout.write(`\n  ${tokens} tokens, ${Math.round(tokens / seconds)} a second\n`);
}

/** Asks the questions in one conversation, and streams the answers. */
async function talk(model, questions) {
  console.log();
  const chat = model.chat();
  for (const question of questions) {
    process.stdout.write(`> ${question}\n`);
    for await (const piece of chat.send(question, { maxTokens: 48, temperature: 0 })) process.stdout.write(piece.text);
    process.stdout.write("\n");
  }
  chat.dispose();
}

try {
  // Import here, so that a failure to load the addon is reported like any other error.
  const { LanguageModel } = await import("../dist/index.js");
  const { deviceInfo } = await import("../dist/graph/index.js");
  const model = await LanguageModel.load("default");
  const { version, cpu } = deviceInfo();
  console.log(`heddle ${version} on ${cpu.threads} threads (${cpu.isa})`);
  console.log(describe(model));
  await stream(model, PROMPT);
  const own = process.argv.slice(2).join(" ");
  if (own !== "") await stream(model, own);
  if (model.tokenizer?.config.chatTemplates.default) await talk(model, QUESTIONS);
  await model.dispose();
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
