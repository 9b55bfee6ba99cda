// Clients of the trial: conversations that grow by a turn with each request, half of them streamed.

const WORDS =
  "river stone lamp garden window letter bridge cloud market paper silver road winter music harbour field".split(" ");

/** Returns a generator of pseudo-random numbers below 1 (mulberry32), so that a seed always gives the same prompts. */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function textOf(words, random) {
  return Array.from({ length: words }, () => WORDS[Math.floor(random() * WORDS.length)]).join(" ");
}

/**
 * Sends one request and reads its answer.
 * @returns the answer's fate: `whole`, `cut` if it broke off, or `lost` if none of it arrived
 */
export async function ask(url, { key, body }) {
  const started = performance.now();
  const found = { fate: "lost", ms: 0, firstMs: undefined, server: undefined, usage: undefined, text: "", why: "" };
  try {
    const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(body) });
    found.server = response.headers.get("x-served-by");
    if (response.status !== 200) {
      found.why = `status ${response.status}: ${(await response.text()).slice(0, 200)}`;
    } else {
      if (body.stream) await readStream(response, found, started);
      else readWhole(await response.json(), found);
      if (found.fate !== "whole") found.why ||= "the stream ended early";
    }
  } catch (error) {
    // The server's own message says more than the broken connection after it.
    found.why ||= `${error.message}: ${error.cause?.message ?? ""}`;
  }
  found.ms = performance.now() - started;
  return found;
}

function readWhole({ choices: [{ message }], usage }, found) {
  Object.assign(found, { fate: "whole", usage, text: message.content });
}

async function readStream(response, found, started) {
  let rest = "";
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + part).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") {
        if (found.why === "") found.fate = "whole";
        continue;
      }
      const { choices = [], usage, error } = JSON.parse(data);
      if (error) found.why = error.message;
      const content = choices[0]?.delta?.content;
      if (content) {
        found.fate = "cut";
        found.firstMs ??= performance.now() - started;
        found.text += content;
      }
      if (usage) found.usage = usage;
    }
  }
}

/** After this many turns a conversation starts over, so that it fits into the context of 2048 tokens. */
const MAX_TURNS = 20;

/**
 * Holds several conversations concurrently. The turns of a conversation are sequential.
 * @param {{ conversations: number, turns: number, seed: number, pause?: number, until?: () => boolean }} plan `pause` is the maximum time in
 * milliseconds between two turns. If `until` returns true before a turn, its conversation ends
 */
export async function converse(url, key, { conversations, turns, seed, pause = 0, until = () => false }) {
  const system = textOf(60, numbers(seed));
  const results = [];
  await Promise.all(
    Array.from({ length: conversations }, async (_, index) => {
      const random = numbers(seed * 1000 + index);
      let messages = [];
      for (let turn = 0; turn < turns && !until(); turn++) {
        // Without a pause, the server that has just answered would have the fewest connections and get the next turn too.
        if (pause > 0) await new Promise((resolve) => setTimeout(resolve, random() * pause));
        const isFirst = turn % MAX_TURNS === 0;
        if (isFirst) messages = [{ role: "system", content: system }];
        messages.push({ role: "user", content: textOf(isFirst ? 250 : 20, random) });
        const stream = (index + turn) % 2 === 0;
        const options = { max_tokens: 16, temperature: 0, ignore_eos: true };
        const body = { messages, ...options, ...(stream && { stream, stream_options: { include_usage: true } }) };
        const result = await ask(url, { key, body });
        results.push({ ...result, stream, turn });
        messages = [...messages, { role: "assistant", content: result.text }];
      }
    }),
  );
  return results;
}

/** Returns the smallest value that at least this share of the values does not exceed. */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
