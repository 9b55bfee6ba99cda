/** Conversations: their turns, the branches of answers, and their generation. */
export const CONVERSATION = `import { ask, events } from "./api.js";
import { $, say } from "./dom.js";

const CANDIDATES = 8;
/** Controllers of the answers that are being written. */
export const running = new Set();
let changed = () => {};
let troubled = () => {};

/** Registers a listener for changes of a column. While an answer streams, the listener also gets its turn, so that it redraws only this turn. */
export function watch(listener) {
  changed = listener;
}

/** Registers a listener for the errors of answers. */
export function watchTrouble(listener) {
  troubled = listener;
}

const settings = () => {
  const number = (id) => ($(id).value === "" ? undefined : Number($(id).value));
  return {
    temperature: number("temperature"), top_p: number("top_p"), top_k: number("top_k"), min_p: number("min_p"),
    max_tokens: number("max_tokens"), seed: number("seed"),
  };
};

function tools() {
  const text = $("tools").value.trim();
  if (text === "") return undefined;
  const parsed = JSON.parse(text);
  if (!Array.isArray(parsed)) throw new Error("expected an array");
  return parsed.length > 0 ? parsed : undefined;
}

/** Checks the JSON of the tools, and shows what is wrong with it. */
export function checkTools() {
  try {
    tools();
    $("tools-problem").textContent = "";
    return true;
  } catch (error) {
    $("tools-problem").textContent = "Tools: " + error.message;
    return false;
  }
}

/** The branch of an answer that is shown. */
export const answerOf = (turn) => turn.branches[turn.at];

/** The messages of a conversation as the API has them, up to a turn. */
function messagesOf(column, before) {
  const system = $("system").value;
  const out = system ? [{ role: "system", content: system }] : [];
  for (const turn of column.turns.slice(0, before)) {
    if (turn.role !== "assistant") {
      const { role, content, tool_call_id } = turn;
      out.push({ role, content, ...(tool_call_id && { tool_call_id }) });
      continue;
    }
    const { content, reasoning, calls } = answerOf(turn);
    out.push({
      role: "assistant", content,
      ...(reasoning && { reasoning_content: reasoning }),
      ...(calls.length > 0 && { tool_calls: calls.map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } })) }),
    });
  }
  return out;
}

const newBranch = (prefix = []) => ({ content: "", reasoning: "", calls: [], tokens: [], prefix, seconds: 0, prompt: null, usage: null, finish: null, problem: "" });

/** Generates the answer of a column's last turn. It begins with the tokens of the branch's prefix. */
async function generate(column) {
  const turn = column.turns.at(-1);
  const branch = answerOf(turn);
  const controller = new AbortController();
  const { signal } = controller;
  running.add(controller);
  column.busy = true;
  changed(column);
  try {
    const messages = messagesOf(column, column.turns.length - 1);
    const given = tools();
    const body = { model: column.model, messages, ...(given && { tools: given }) };
    showPrompt(column, branch, body, signal);
    const start = performance.now();
    let first = 0;
    const response = await ask("v1/chat/completions", {
      ...body, ...settings(), stream: true, stream_options: { include_usage: true }, logprobs: true, top_logprobs: CANDIDATES,
      return_token_ids: true, return_entropy: true, ...(branch.prefix.length > 0 && { continue_token_ids: branch.prefix.map((token) => token.id) }),
    }, signal);
    for await (const { choices: [choice], usage } of events(response)) {
      if (usage) branch.usage = usage;
      if (!choice) continue;
      add(branch, choice);
      if (branch.tokens.length > 0) {
        // The first event only opens the answer, before the prompt is computed.
        first ||= performance.now();
        branch.seconds = (performance.now() - first) / 1000;
        branch.wait = (first - start) / 1000;
      }
      changed(column, turn);
    }
  } catch (error) {
    if (error.name === "AbortError") branch.finish = "stopped";
    else {
      branch.problem = error.message;
      say(error.message, true);
      troubled(error);
    }
  } finally {
    column.busy = false;
    running.delete(controller);
    changed(column);
  }
}

function add(branch, { delta = {}, logprobs, finish_reason }) {
  if (delta.content) branch.content += delta.content;
  if (delta.reasoning_content) branch.reasoning += delta.reasoning_content;
  for (const part of delta.tool_calls || []) {
    const call = (branch.calls[part.index] ||= { id: part.id, name: "", arguments: "", result: "" });
    if (part.function.name) call.name = part.function.name;
    call.arguments += part.function.arguments || "";
  }
  for (const { id, token, logprob, entropy, top_logprobs } of (logprobs && logprobs.content) || [])
    branch.tokens.push({ id, text: token, logprob, entropy, top: top_logprobs.map((one) => ({ id: one.id, text: one.token, logprob: one.logprob })) });
  if (finish_reason) branch.finish = finish_reason;
}

async function showPrompt(column, branch, body, signal) {
  try {
    const { tokens, token_texts, max_model_len } = await (await ask("tokenize", { ...body, return_token_texts: true }, signal)).json();
    branch.prompt = token_texts.map((text, i) => ({ id: tokens[i], text }));
    column.context = max_model_len;
    changed(column);
  } catch {
    // The view of the prompt is optional, and the request for the answer shows the same error.
  }
}

/** Sends a message to every column. */
export function send(columns, text) {
  if (!checkTools()) return;
  say("");
  for (const column of columns) {
    column.turns.push({ role: "user", content: text }, { role: "assistant", branches: [newBranch()], at: 0 });
    column.follows = true;
    generate(column);
  }
}

/** Continues an answer with another candidate for one of its tokens. Later turns are dropped from the conversation. */
export function branchAt(column, turn, index, candidate) {
  const branch = answerOf(turn);
  const all = [...branch.prefix, ...branch.tokens];
  const { top, entropy } = all[index];
  const prefix = [...all.slice(0, index), { ...candidate, top, entropy }];
  column.turns.length = column.turns.indexOf(turn) + 1;
  turn.branches.push(newBranch(prefix));
  turn.at = turn.branches.length - 1;
  say("");
  generate(column);
}

/** Sends the results of an answer's tool calls. */
export function sendResults(column, turn) {
  for (const call of answerOf(turn).calls) column.turns.push({ role: "tool", tool_call_id: call.id, content: call.result });
  column.turns.push({ role: "assistant", branches: [newBranch()], at: 0 });
  column.follows = true;
  generate(column);
}

/** Shows another branch of an answer. Later turns are dropped. */
export function showBranch(column, turn, at) {
  turn.at = at;
  column.turns.length = column.turns.indexOf(turn) + 1;
  changed(column);
}

/** Generates a failed answer again. */
export function tryAgain(column, turn) {
  turn.branches[turn.at] = newBranch(answerOf(turn).prefix);
  say("");
  generate(column);
}
`;
