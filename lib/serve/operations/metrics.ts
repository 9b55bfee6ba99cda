// Metrics for Prometheus, by prom-client. Metrics that vLLM also has get vLLM's names, because Kubernetes' Gateway API Inference Extension
// reads those names. The other names begin with `heddle:`.
import type { Gauge, Histogram, Registry } from "prom-client";
import type { ModelStatus, Models } from "../core/models.ts";
import { optionalPackage } from "../core/optional.ts";
import type { RequestRecord } from "../core/record.ts";

type PromClient = typeof import("prom-client");

/** Buckets of the histograms, in seconds. */
const FIRST_TOKEN = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60];
const PER_TOKEN = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2];
const DURATION = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300];

/** The metrics of a handler. */
export class Metrics {
  private readonly models: Models;
  private readonly ready: Promise<Collectors | undefined>;
  private collectors: Collectors | undefined;

  /** @param library name of the package */
  constructor(models: Models, library = "prom-client") {
    this.models = models;
    this.ready = this.open(library);
    // `text` throws this error.
    this.ready.catch(() => {});
  }

  /** Counts a finished request. @param route the path of its endpoint; undefined for an unknown path */
  observe(record: RequestRecord, route: string | undefined): void {
    this.collectors?.observe(record, route);
  }

  /** Returns the metrics in Prometheus' text format with their content type, or undefined without prom-client. */
  async text(): Promise<{ body: string; contentType: string } | undefined> {
    const { registry } = (await this.ready) ?? {};
    return registry && { body: await registry.metrics(), contentType: registry.contentType };
  }

  private async open(library: string): Promise<Collectors | undefined> {
    const found = await optionalPackage<PromClient & { default?: PromClient }>(library);
    if (found) this.collectors = new Collectors(found.default ?? found, this.models);
    return this.collectors;
  }
}

/** The gauges, counters and histograms of a handler. */
class Collectors {
  readonly registry: Registry;
  private readonly client: PromClient;
  private readonly requests;
  private readonly promptTokens;
  private readonly generatedTokens;
  private readonly cacheQueries;
  private readonly cacheHits;
  private readonly firstToken: Histogram<"model_name">;
  private readonly perToken: Histogram<"model_name">;
  private readonly duration: Histogram<"model_name">;

  constructor(client: PromClient, models: Models) {
    this.client = client;
    this.registry = new client.Registry();
    const registers = [this.registry];
    const labelNames = ["model_name"] as const;
    this.gauge("vllm:num_requests_running", "Number of running sequences", models, (all) => sum(all, "running"));
    this.gauge("vllm:num_requests_waiting", "Number of sequences that wait for a slot", models, (all) =>
      sum(all, "waiting"),
    );
    this.gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use; 1 means all of it", models, (all) =>
      Math.max(...all.map(({ load }) => load.cacheUsage)),
    );
    this.gauge("heddle:model_loaded", "Whether the weights are in memory", models, ([base]) => Number(base!.isLoaded));
    this.gauge("heddle:model_bytes", "Size of the loaded weights", models, ([base]) =>
      base!.isLoaded ? base!.bytes : 0,
    );
    this.adapters(models);
    const counter = <T extends string>(name: string, help: string, labels: readonly T[]) =>
      new client.Counter({ name, help, labelNames: labels, registers });
    this.promptTokens = counter("vllm:prompt_tokens_total", "Number of tokens of prompts and texts", labelNames);
    this.generatedTokens = counter("vllm:generation_tokens_total", "Number of generated tokens", labelNames);
    this.cacheQueries = counter(
      "vllm:prefix_cache_queries_total",
      "Number of prompt tokens looked up in the prefix cache",
      labelNames,
    );
    this.cacheHits = counter(
      "vllm:prefix_cache_hits_total",
      "Number of prompt tokens that came from the prefix cache",
      labelNames,
    );
    this.requests = counter("heddle:requests_total", "Number of requests by endpoint and status", [
      "path",
      "status",
    ] as const);
    const histogram = (name: string, help: string, buckets: number[]) =>
      new client.Histogram({ name, help, buckets, labelNames, registers });
    this.firstToken = histogram(
      "vllm:time_to_first_token_seconds",
      "Time from a request to its first token",
      FIRST_TOKEN,
    );
    this.perToken = histogram("vllm:time_per_output_token_seconds", "Mean time between tokens of a request", PER_TOKEN);
    this.duration = histogram(
      "vllm:e2e_request_latency_seconds",
      "Time from a request to the end of its answer",
      DURATION,
    );
  }

  observe(record: RequestRecord, route = "other"): void {
    const {
      model: model_name,
      status,
      ms,
      promptTokens = 0,
      cachedTokens,
      completionTokens,
      firstTokenMs,
      tokenMs,
    } = record;
    this.requests.inc({ path: route, status: String(status) });
    if (model_name === undefined) return;
    const labels = { model_name };
    this.promptTokens.inc(labels, promptTokens);
    // Embeddings and scores have no prefix cache.
    if (cachedTokens !== undefined) {
      this.cacheQueries.inc(labels, promptTokens);
      this.cacheHits.inc(labels, cachedTokens);
    }
    this.generatedTokens.inc(labels, completionTokens ?? 0);
    this.duration.observe(labels, ms / 1000);
    if (firstTokenMs !== undefined) this.firstToken.observe(labels, firstTokenMs / 1000);
    if (tokenMs !== undefined) this.perToken.observe(labels, tokenMs / 1000);
  }

  /** Adds a gauge with one value for each base. @param measure gets the status of the base, then those of its adapters */
  private gauge(name: string, help: string, models: Models, measure: (all: readonly ModelStatus[]) => number): void {
    new this.client.Gauge({
      ...{ name, help, labelNames: ["model_name"], registers: [this.registry] },
      collect(this: Gauge<string>) {
        for (const [base, all] of byBase(models)) this.set({ model_name: base }, measure(all));
      },
    });
  }

  /** Adds vLLM's gauge of adapters: its labels list them, and its value is the time. */
  private adapters(models: Models): void {
    const [waiting, running] = ["waiting_lora_adapters", "running_lora_adapters"] as const;
    new this.client.Gauge({
      name: "vllm:lora_requests_info",
      help: "Adapters with running and with waiting sequences; the value is the Unix time",
      labelNames: ["model_name", "max_lora", waiting, running],
      registers: [this.registry],
      collect(this: Gauge<string>) {
        this.reset();
        for (const [base, [, ...adapters]] of byBase(models)) {
          if (adapters.length === 0) continue;
          const named = (what: "running" | "waiting") =>
            adapters
              .filter(({ load }) => load[what] > 0)
              .map(({ name }) => name)
              .join(",");
          this.set(
            { model_name: base, max_lora: adapters.length, [waiting]: named("waiting"), [running]: named("running") },
            Date.now() / 1000,
          );
        }
      },
    });
  }
}

/** Returns each base with its adapters. */
function byBase({ all }: Models): Map<string, ModelStatus[]> {
  const bases = new Map<string, ModelStatus[]>();
  for (const one of all) {
    const name = one.base ?? one.name;
    bases.set(name, [...(bases.get(name) ?? []), one]);
  }
  return bases;
}

function sum(all: readonly ModelStatus[], what: "running" | "waiting"): number {
  return all.reduce((total, { load }) => total + load[what], 0);
}
