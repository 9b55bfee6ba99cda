/** Requests to the server, which use its public API only. */
export const API = `import { $ } from "./dom.js";

function headers() {
  const key = $("key").value;
  return { "content-type": "application/json", ...(key && { authorization: "Bearer " + key }) };
}

/** An error that the page explains. Its kind is gone (no server), model (unknown model), key, busy, unavailable or other. */
function trouble(kind, message) {
  return Object.assign(new Error(message), { kind });
}

function refusal(status, model, { message }) {
  if (status === 401) return trouble("key", "The server asks for an API key (Settings). " + (message || ""));
  if (status === 404 && model) return trouble("model", "The server no longer has the model " + model + ". Choose another one above, and try again.");
  if (status === 429) return trouble("busy", "The model is busy, and its queue is full. Try again in a moment.");
  if (status === 503) return trouble("unavailable", "The model is not available now. Try again in a moment. " + (message ? "The server says: " + message : ""));
  return trouble("other", message || "HTTP " + status);
}

/** Asks the server. A body makes it a POST request. */
export async function ask(path, body, signal) {
  let response;
  try {
    response = await fetch(path, body === undefined ? { headers: headers(), signal } : { method: "POST", headers: headers(), body: JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw trouble("gone", "The server does not answer. It may have been stopped. The page waits for it.");
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw refusal(response.status, body && body.model, error || {});
}

/** Reads the objects of a stream of events. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw trouble("gone", "The connection to the server was lost, and the answer is not complete. The page waits for the server.");
    });
    if (done) return;
    held += value;
    const parts = held.split("\\n\\n");
    held = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw trouble("other", "The answer broke off. The server says: " + event.error.message);
      yield event;
    }
  }
}
`;
