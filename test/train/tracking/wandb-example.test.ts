// Runs examples/wandb-tracker.ts against a local server that has the two endpoints of W&B that it uses.
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { wandb } from "../../../examples/wandb-tracker.ts";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let server: Server;
let baseUrl: string;
const requests: { url: string; authorization: string | undefined; body: Record<string, unknown> }[] = [];
let status = 200;

beforeAll(async () => {
  server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const body = JSON.parse(text);
    requests.push({ url: request.url!, authorization: request.headers.authorization, body });
    const { name, project } = body.variables ?? {};
    const bucket = { name, project: { name: project, entity: { name: "some team" } } };
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(request.url === "/graphql" ? { data: { upsertBucket: { bucket } } } : {}));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  requests.length = 0;
  status = 200;
});
afterAll(() => server.close());

async function run(more: Partial<SftOptions>) {
  await using model = tinyModel({ tokenizer: await tinyTokenizer() });
  const data = sentences.slice(0, 8).map((text) => ({ text }));
  const events = [];
  for await (const event of sft(model, { data, evalData: data.slice(0, 2), maxSteps: 3, ...more })) events.push(event);
  return events;
}

test("the example sends a run's configuration, history and end to Weights & Biases", async () => {
  const events = await run({ name: "first", trackers: [wandb({ project: "lesson", apiKey: "secret", baseUrl })] });
  const [made, ...streamed] = requests;
  expect(made!.url).toBe("/graphql");
  expect(made!.authorization).toBe(`Basic ${Buffer.from("api:secret").toString("base64")}`);
  const variables = made!.body.variables as Record<string, string>;
  expect(variables).toMatchObject({ project: "lesson", displayName: "first" });
  expect(JSON.parse(variables.config!)).toMatchObject({ stage: { value: "sft" }, maxSteps: { value: 3 } });
  expect(new Set(streamed.map(({ url }) => url))).toEqual(
    new Set([`/files/some%20team/lesson/${variables.name}/file_stream`]),
  );

  // Lines arrive in order and once each, and offsets state their positions.
  const history: Record<string, number>[] = [];
  for (const { body } of streamed) {
    const part = (body.files as Record<string, { offset: number; content: string[] }> | undefined)?.[
      "wandb-history.jsonl"
    ];
    if (!part) continue;
    expect(part.offset).toBe(history.length);
    history.push(...part.content.map((line) => JSON.parse(line)));
  }
  const losses = events.flatMap((event) => ("loss" in event ? [[event.step, event.loss]] : []));
  expect(history.filter((line) => "train/loss" in line).map((line) => [line._step, line["train/loss"]])).toEqual(
    losses,
  );
  const evaluation = events.find((event) => "evalLoss" in event)!;
  expect(history.at(-1)).toMatchObject({ _step: 3, "eval/loss": (evaluation as { evalLoss: number }).evalLoss });
  expect(streamed.at(-1)!.body).toMatchObject({ complete: true, exitcode: 0 });
});

test("a missing or rejected API key is reported once per run, and does not end the run", async () => {
  const warnings: string[] = [];
  const onWarning = (message: string) => void warnings.push(message);
  status = 401;
  await run({ onWarning, trackers: [wandb({ project: "lesson", apiKey: "wrong", baseUrl })] });
  await run({ onWarning, trackers: [wandb({ project: "lesson", apiKey: "", baseUrl })] });
  expect(warnings).toHaveLength(2);
  expect(warnings[0]).toContain("expected status 200, got 401");
  expect(warnings[1]).toBe("tracker wandb: expected a key in WANDB_API_KEY, got none; the run is not affected");
  expect(requests).toHaveLength(1);
});

test("lines that the server rejected are sent again with the same offset", async () => {
  const tracker = wandb({ project: "lesson", apiKey: "secret", baseUrl });
  await tracker.start!({ name: "second", config: {} } as never);
  status = 503;
  await expect(tracker.log({ "train/loss": 3 }, 1)).rejects.toThrow("got 503");
  requests.splice(0); // the server rejected these
  await tracker.log({ "train/loss": 2 }, 2);
  status = 200;
  await tracker.log({ "train/loss": 1 }, 3);
  await tracker.end!("completed");
  const taken = new Map<number, number>();
  for (const { body } of requests) {
    const part = (body.files as Record<string, { offset: number; content: string[] }> | undefined)?.[
      "wandb-history.jsonl"
    ];
    part?.content.forEach((line, i) => {
      taken.set(part.offset + i, JSON.parse(line)._step);
    });
  }
  expect([...taken]).toEqual([
    [0, 1],
    [1, 2],
    [2, 3],
  ]);
});
