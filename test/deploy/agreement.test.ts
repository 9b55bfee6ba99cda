// The files of deploy/ name ports, paths, metrics, options and variables that `heddle serve` has: a server runs with their options.
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cacheFolder } from "../../lib/hub/environment.ts";
import { describeLaunch } from "../../lib/train/world/launch.ts";
import { runCli, startCli } from "../cli/run.ts";
import { allOf, compose, deployed, documents, namedOne, theOnly } from "./manifests.ts";

const pod = theOnly("Deployment").spec.template.spec;
const [container] = pod.containers;
const { heddle, haproxy } = compose.services;
const dockerfile = deployed("Dockerfile");
const base = deployed("haproxy/base.cfg");

/** Returns the value of an option such as `--port=8080`. */
const optionIn = (args: readonly string[], name: string) =>
  args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1);
const seconds = (text: string) => Number(/^(\d+)s$/.exec(text)![1]);
/** Compose fills in variables: `${NAME:-default}`. */
const filled = (text: string) => text.replace(/\$\{\w+:-([^}]*)\}/g, "$1");

/** Starts a server with options of a file, on a free port of this machine. */
async function started(args: readonly string[]) {
  const own = args.map((arg) => arg.replace(/^--host=.*/, "--host=127.0.0.1").replace(/^--port=.*/, "--port=0"));
  const child = startCli([...own, "--json"]);
  const url = await new Promise<string>((resolve, reject) => {
    let [stdout, stderr] = ["", ""];
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (stdout.includes("\n")) resolve(JSON.parse(stdout.split("\n")[0]!).url);
    });
    child.once("close", () => reject(new Error(stderr)));
  });
  /** Sends a request with another host name than the server's address, as from a client that knows the server by that name. */
  const ask = (path: string, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const asked = request(url + path, { headers: { host: "heddle.example", ...headers } }, (response) => {
        let body = "";
        response
          .setEncoding("utf8")
          .on("data", (text: string) => {
            body += text;
          })
          .on("end", () => resolve({ status: response.statusCode!, body }));
      });
      asked.on("error", reject).end();
    });
  return { child, ask };
}

describe.each([
  ["the Deployment", container.args as string[]],
  ["the compose file", (heddle.command as string[]).map(filled)],
])("the options of %s", (_, args) => {
  let server: Awaited<ReturnType<typeof started>>;
  const before = process.env.HEDDLE_API_KEY;
  beforeAll(async () => {
    process.env.HEDDLE_API_KEY = "first,second";
    server = await started(args);
  });
  afterAll(() => {
    if (before === undefined) delete process.env.HEDDLE_API_KEY;
    else process.env.HEDDLE_API_KEY = before;
    server?.child.kill("SIGKILL");
  });

  test("are known, and make a server that clients with a key reach by another host name", async () => {
    expect((await server.ask("/v1/models")).status).toBe(401);
    expect((await server.ask("/v1/models", { authorization: "Bearer second" })).status).toBe(200);
  });

  test("make a server that answers probes, checks and scrapes without a key", async () => {
    const { startupProbe, livenessProbe, readinessProbe } = container;
    const probes = [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.path);
    const checked = /http-check send meth GET uri (\S+)/.exec(base)![1]!;
    const health = /127\.0\.0\.1:8080(\/\w+)/.exec(dockerfile)![1]!;
    const [{ path: scraped }] = theOnly("PodMonitor").spec.podMetricsEndpoints;
    const paths = [...probes, checked, health, scraped];
    expect(paths).toEqual(["/live", "/live", "/ready", "/ready", "/live", "/metrics"]);
    for (const path of paths) expect([path, (await server.ask(path)).status]).toEqual([path, 200]);
  });

  test("make a server with the metric that the autoscaler and the endpoint picker read", async () => {
    const { body } = await server.ask("/metrics");
    const [rule] = documents("kubernetes/prometheus-adapter-values.yaml")[0].rules.custom;
    const series = /__name__="([^"]+)"/.exec(rule.seriesQuery)![1]!;
    expect(body).toMatch(new RegExp(`^${series}\\{model_name="[^"]+"\\} 0$`, "m"));
    expect(new RegExp(rule.name.matches).test(series)).toBe(true);
    const [{ pods }] = theOnly("HorizontalPodAutoscaler").spec.metrics;
    expect(pods.metric.name).toBe(rule.name.as);
    // The endpoint picker reads these metrics under vLLM's names. Adapters are in vllm:lora_requests_info, which is empty without adapters.
    for (const name of ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"])
      expect(body).toContain(`\nvllm:${name}{`);
    expect(body).toContain("# TYPE vllm:lora_requests_info gauge");
  });
});

test("ports are the same everywhere", () => {
  const port = Number(optionIn(container.args, "--port"));
  const [{ containerPort, name }] = container.ports;
  expect([containerPort, theOnly("InferencePool").spec.targetPorts[0].number]).toEqual([port, port]);
  expect(theOnly("Service").spec.ports[0].targetPort).toBe(name);
  expect(theOnly("PodMonitor").spec.podMetricsEndpoints[0].port).toBe(name);
  for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe])
    expect(probe.httpGet.port).toBe(name);
  expect(optionIn(heddle.command, "--port")).toBe(String(port));
  expect(dockerfile).toContain(`EXPOSE ${port}\n`);
  for (const method of ["least-connections", "prefix-hash"])
    expect(deployed(`haproxy/${method}.cfg`)).toContain(`server-template heddle 8 heddle:${port} `);
  const published = haproxy.ports.map((one: string) => Number(one.split(":").at(-1)));
  expect(published.map((one: number) => base.includes(`bind :${one}\n`))).toEqual([true, true]);
});

test("grace periods exceed --close-timeout, and a stopping server first leaves the endpoints", () => {
  const { preStop } = container.lifecycle;
  const close = Number(optionIn(container.args, "--close-timeout"));
  expect(pod.terminationGracePeriodSeconds).toBe(preStop.sleep.seconds + close + 10);
  const inCompose = Number(optionIn(heddle.command, "--close-timeout"));
  expect(seconds(heddle.stop_grace_period)).toBe(inCompose + 10);
  // The endpoints must be removed before the server rejects requests.
  const { periodSeconds, failureThreshold } = container.readinessProbe;
  expect(preStop.sleep.seconds).toBeGreaterThan(periodSeconds * failureThreshold);
});

test("keys and models come from the variables that heddle reads", () => {
  expect(container.env[0]).toMatchObject({ name: "HEDDLE_API_KEY", valueFrom: { secretKeyRef: {} } });
  expect(Object.keys(heddle.environment)).toEqual(["HEDDLE_API_KEY"]);
  const home = /HF_HOME=(\S+)/.exec(dockerfile)![1]!;
  expect(container.env.find(({ name }: { name: string }) => name === "HF_HOME").value).toBe(home);
  expect(container.volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath)).toContain(home);
  const before = process.env.HF_HOME;
  process.env.HF_HOME = home;
  try {
    expect(dockerfile).toContain(`mkdir -p ${cacheFolder()} `);
  } finally {
    if (before === undefined) delete process.env.HF_HOME;
    else process.env.HF_HOME = before;
  }
});

const jobs = allOf("TrainJob").map((job) => [job.metadata.name, job] as const);

test.each(jobs)(
  "the training job %s runs a command that heddle has, with a configuration that it accepts",
  async (_, job) => {
    const { command, args } = job.spec.trainer;
    expect(command).toEqual(["heddle"]);
    const { stdout } = await runCli([...args.slice(0, 2), "--help"]);
    for (const option of args.slice(2)) expect(stdout).toContain(option.split("=")[0]);
    const runtime = namedOne("TrainingRuntime", job.spec.runtimeRef.name);
    const node = runtime.spec.template.spec.replicatedJobs[0].template.spec.template.spec;
    const [volume] = node.containers[0].volumeMounts;
    const { configMap } = node.volumes.find(({ name }: { name: string }) => name === "config");
    const config = JSON.parse(namedOne("ConfigMap", configMap.name).data["sft.json"]);
    for (const path of [config.model, config.outputDir, ...config.data])
      expect(path.startsWith(`${volume.mountPath}/`)).toBe(true);
    const folder = await mkdtemp(join(tmpdir(), "heddle-deploy-"));
    try {
      await writeFile(join(folder, "sft.json"), JSON.stringify(config));
      const { code, stderr } = await runCli(["train", "sft", "--config", join(folder, "sft.json"), "--resume"]);
      // Unknown keys would be rejected before the model is loaded. The only error here is the missing model.
      expect(code).toBe(2);
      expect(stderr).toContain(config.model);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test.each(jobs)("heddle knows the ranks of the training job %s", (name, job) => {
  const { mlPolicy } = namedOne("TrainingRuntime", job.spec.runtimeRef.name).spec;
  const { trainer } = job.spec;
  expect(mlPolicy.numNodes).toBe(trainer.numNodes);
  expect(mlPolicy.torch !== undefined).toBe(trainer.numNodes > 1);
  if (!mlPolicy.torch) return;
  const { numProcPerNode } = mlPolicy.torch;
  expect(trainer.resourcesPerNode.limits["nvidia.com/gpu"]).toBe(String(numProcPerNode));
  expect(trainer.args).toContain("--device=cuda");
  // The variables that the torch policy sets.
  const environment = (node: number) => ({
    PET_NNODES: String(trainer.numNodes),
    PET_NPROC_PER_NODE: String(trainer.numProcPerNode ?? numProcPerNode),
    PET_NODE_RANK: String(node),
    PET_MASTER_ADDR: `${name}-node-0-0.${name}`,
    PET_MASTER_PORT: "29500",
  });
  for (let node = 0; node < trainer.numNodes; node++)
    expect(describeLaunch(environment(node))).toMatchObject({
      rank: node,
      size: trainer.numNodes,
      localRank: 0,
      master: { address: `${name}-node-0-0.${name}`, port: 29_500 },
    });
});

const hasHaproxy = spawnSync("haproxy", ["-v"], { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
test.skipIf(hasHaproxy.error).each(["least-connections", "prefix-hash"])("HAProxy accepts %s", (method) => {
  const folder = new URL("../../deploy/haproxy/", import.meta.url).pathname;
  const files = ["base", method].flatMap((name) => ["-f", `${folder}${name}.cfg`]);
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
  const { status, stderr } = spawnSync("haproxy", ["-c", ...files], { encoding: "utf8", env });
  expect({ status, alerts: stderr.match(/^\[(ALERT|WARNING)\].*/gm) }).toEqual({ status: 0, alerts: null });
});
