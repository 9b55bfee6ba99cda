// Requests to servers that other runtimes and frameworks start.

/** Waits until a server listens, then requests models, a completion and a streamed completion. @param log returns the server's output */
export async function asked(url: string, log: () => string) {
  const until = performance.now() + 60_000;
  const listening = async (): Promise<Response> => {
    try {
      return await fetch(`${url}/v1/models`);
    } catch (error) {
      if (performance.now() > until) throw new Error(`expected a server at ${url}, got ${log()}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 100));
      return listening();
    }
  };
  const models = await listening();
  const complete = (stream: boolean) =>
    fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "The capital of France is", max_tokens: 4, temperature: 0, stream }),
    });
  const completion = (await (await complete(false)).json()) as { choices: { text: string }[] };
  const events = (await (await complete(true)).text()).split("\n\n").filter(Boolean);
  const data = events.map((event) => event.replace(/^data: /, ""));
  // Tokens that are ready together share an event.
  const streamed = data.filter((one) => one !== "[DONE]").map((one) => JSON.parse(one).choices[0]?.text ?? "");
  return { models, completion, streamed: streamed.join(""), last: data.at(-1) };
}
