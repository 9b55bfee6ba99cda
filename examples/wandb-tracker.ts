// A tracker that sends a run to Weights & Biases. W&B maintains no client for Node, so the tracker uses HTTP like the Python client:
// a GraphQL mutation creates the run, and its file stream receives the lines of the history. WANDB_API_KEY holds the API key, and
// WANDB_BASE_URL the server. Each call of `wandb` creates a new run.
//   WANDB_API_KEY=… npx jiti examples/wandb-tracker.ts model-folder rows.jsonl out
// (if heddle is a dependency: npx jiti node_modules/heddle/examples/wandb-tracker.ts …)
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { LanguageModel, sft, type Tracker } from "heddle";

export interface WandbOptions {
  project: string;
  /** The user or team. Default: the owner of the API key. */
  entity?: string;
  apiKey?: string | undefined;
  baseUrl?: string;
}

const UPSERT = `mutation UpsertBucket($name: String, $project: String, $entity: String, $displayName: String, $config: JSONString) {
  upsertBucket(input: { name: $name, modelName: $project, entityName: $entity, displayName: $displayName, config: $config }) {
    bucket { name project { name entity { name } } }
  }
}`;

/** NaN and infinities become strings, because the server rejects them as numbers. */
const asJson = (value: unknown) =>
  JSON.stringify(value, (_, v) => (typeof v === "number" && !Number.isFinite(v) ? String(v) : v));

export function wandb({
  project,
  entity,
  apiKey = process.env.WANDB_API_KEY,
  baseUrl = process.env.WANDB_BASE_URL ?? "https://api.wandb.ai",
}: WandbOptions): Tracker {
  const id = randomBytes(4).toString("hex");
  const [began, summary] = [Date.now(), {} as Record<string, unknown>];
  let lines: string[] = [];
  let [sent, sentAt] = [0, 0];
  let stream = "";

  async function post(url: string, body: unknown): Promise<unknown> {
    if (!apiKey) throw new Error("expected a key in WANDB_API_KEY, got none");
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: `Basic ${Buffer.from(`api:${apiKey}`).toString("base64")}`,
      },
      body: asJson(body),
      signal: AbortSignal.timeout(30_000),
    });
    if (!response.ok) throw new Error(`${url}: expected status 200, got ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Sends the waiting lines of the history and the newest values. */
  async function flush(more: object = {}): Promise<void> {
    const [content, offset] = [lines, sent];
    lines = [];
    sent += content.length;
    sentAt = Date.now();
    const files = {
      "wandb-history.jsonl": { offset, content },
      "wandb-summary.json": { offset: 0, content: [asJson(summary)] },
    };
    try {
      await post(stream, { ...(content.length > 0 && { files }), ...more });
    } catch (error) {
      // Keep the lines for the next call.
      lines = [...content, ...lines];
      sent = offset;
      throw error;
    }
  }

  return {
    name: "wandb",
    async start(run) {
      // W&B expects each configuration value as an object `{ value }`.
      const config = Object.fromEntries(Object.entries(run.config).map(([name, value]) => [name, { value }]));
      const variables = { name: id, project, entity, displayName: run.name, config: asJson(config) };
      const answer = (await post(`${baseUrl}/graphql`, { query: UPSERT, variables })) as {
        data?: { upsertBucket: { bucket: { name: string; project: { name: string; entity: { name: string } } } } };
        errors?: { message: string }[];
      };
      if (!answer.data) throw new Error(answer.errors?.map(({ message }) => message).join("; ") ?? "no answer");
      const { bucket } = answer.data.upsertBucket;
      const path = [bucket.project.entity.name, bucket.project.name, bucket.name].map(encodeURIComponent).join("/");
      stream = `${baseUrl}/files/${path}/file_stream`;
    },
    async log(metrics, step) {
      const [now, last] = [Date.now(), lines.at(-1)];
      const line = { ...metrics, _step: step, _timestamp: now / 1000, _runtime: (now - began) / 1000 };
      Object.assign(summary, line);
      // The history has one line per step. An evaluation is merged into its step's line if that is not sent yet.
      if (last && JSON.parse(last)._step === step) lines[lines.length - 1] = asJson({ ...JSON.parse(last), ...line });
      else lines.push(asJson(line));
      if (now - sentAt > 2000) await flush();
    },
    async end(status) {
      await flush({ complete: true, exitcode: status === "completed" ? 0 : 1 });
    },
  };
}

const [, script = "", folder, data, outputDir] = process.argv;
if (import.meta.filename === resolve(script) && folder && data && outputDir) {
  const model = await LanguageModel.load(folder);
  await sft(model, { data, evalFraction: 0.1, outputDir, trackers: [wandb({ project: "heddle" })] });
  await model.dispose();
}
