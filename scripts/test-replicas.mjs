// Serves a model with three processes behind HAProxy, with the configuration of deploy/haproxy, and ends some of them under load.
//
//   npm run test:replicas [-- --loopback] [--json]
//
// It needs HAProxy (Debian: haproxy), iproute2 and the right to make network namespaces. Without that right, or with --loopback, the
// servers are on ports of the loopback interface. It exits with 1 if an answer was lost before it began, or if a living server cut an answer. It
// also exits with 1 if the stopped server failed, or if the kill met no request.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Balancer, endAll, Replica } from "./replicas/fleet.mjs";
import { converse, quantile } from "./replicas/load.mjs";
import { loopbackPorts, namespaces, ownNetwork, whyNoNamespaces } from "./replicas/network.mjs";

const { values } = parseArgs({
  options: {
    loopback: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    inside: { type: "boolean", default: false },
  },
});
const root = fileURLToPath(new URL("..", import.meta.url));
const program = join(root, "dist/cli/main.js");
const key = "trial-key";
const METHODS = ["least-connections", "prefix-hash"];
/** Rounds of undisturbed conversations for each balancing method. */
const ROUNDS = 2;
/** Seconds after the load begins at which one server is killed, another is stopped, the killed one restarts, and the load ends. */
const [KILLED_AT, DRAINED_AT, BACK_AT, LOAD_ENDS_AT] = [2, 4, 6, 10];

const say = (text) => console.error(text);
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function missing(what, how) {
  say(`test-replicas: expected ${what}, got none: ${how}`);
  process.exit(2);
}

function haproxyPath() {
  const places = [...(process.env.PATH ?? "").split(":"), "/usr/sbin"].map((folder) => join(folder, "haproxy"));
  return places.find((path) => existsSync(path)) ?? missing("HAProxy", "apt-get install haproxy");
}

/** Saves a model with random weights, which is large enough that a prompt takes a noticeable time. */
async function makeModel(folder) {
  const { createModel, Tokenizer } = await import("../dist/index.js");
  const tokenizer = await Tokenizer.load(join(root, "models/default"));
  const size = { hiddenSize: 256, intermediateSize: 768, numHiddenLayers: 6, maxPositionEmbeddings: 2048 };
  const heads = { numAttentionHeads: 4, numKeyValueHeads: 2 };
  const model = createModel({ modelType: "llama", ...size, ...heads }, { tokenizer, seed: 1 });
  await model.save(folder);
  await model.dispose();
}

/** Measures undisturbed conversations. The balancers take turns, so that other work on the machine slows all of them equally. */
async function measure(balancers) {
  const all = new Map(balancers.map((balancer) => [balancer, { results: [], seconds: 0 }]));
  for (let round = 0; round < ROUNDS; round++)
    for (const [index, balancer] of balancers.entries()) {
      const started = performance.now();
      const plan = { conversations: 15, turns: 4, pause: 1500, seed: 1 + round * balancers.length + index };
      const found = all.get(balancer);
      found.results.push(...(await converse(balancer.url, key, plan)));
      found.seconds += (performance.now() - started) / 1000;
    }
  return [...all.values()].map(figuresOf);
}

function figuresOf({ results, seconds }) {
  const failed = results.find(({ fate }) => fate !== "whole");
  if (failed) throw new Error(`an answer failed though nothing disturbed it: ${failed.why}`);
  const sum = (pick) => results.reduce((total, { usage }) => total + pick(usage), 0);
  const [times, first] = [results.map(({ ms }) => ms), results.flatMap(({ firstMs }) => firstMs ?? [])];
  const promptTokens = sum(({ prompt_tokens }) => prompt_tokens);
  return {
    requests: results.length,
    requestsPerSecond: results.length / seconds,
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    firstTokenP50Ms: quantile(first, 0.5),
    firstTokenP99Ms: quantile(first, 0.99),
    meanPromptTokens: promptTokens / results.length,
    cachedShare: sum(({ prompt_tokens_details }) => prompt_tokens_details.cached_tokens) / promptTokens,
    byServer: countBy(results, ({ server }) => server),
  };
}

/** Kills one server and stops another under load, then restarts the killed one. */
async function disturb(balancer, [killed, drained], seed) {
  let isOver = false;
  const load = converse(balancer.url, key, { conversations: 12, turns: 1000, seed, until: () => isOver });
  const before = await balancer.repeated();
  await sleep(KILLED_AT);
  await killed.stop("SIGKILL");
  await sleep(DRAINED_AT - KILLED_AT);
  const stopping = performance.now();
  const { code } = await drained.stop("SIGTERM");
  const drainSeconds = (performance.now() - stopping) / 1000;
  await sleep(Math.max(0, BACK_AT - DRAINED_AT - drainSeconds));
  killed.begin();
  await sleep(LOAD_ENDS_AT - BACK_AT);
  isOver = true;
  const results = await load;
  const cut = results.filter(({ fate }) => fate === "cut");
  return {
    requests: results.length,
    whole: results.filter(({ fate }) => fate === "whole").length,
    lost: results.filter(({ fate }) => fate === "lost").map(({ why }) => why),
    cutByKill: cut.filter(({ server }) => server === killed.name).length,
    cutOtherwise: cut.filter(({ server }) => server !== killed.name).map(({ why }) => why),
    repeated: (await balancer.repeated()) - before,
    drainCode: code,
    drainSeconds,
    p99Ms: quantile(
      results.map(({ ms }) => ms),
      0.99,
    ),
    byServer: countBy(results, ({ server }) => server),
  };
}

function countBy(items, name) {
  const counts = {};
  for (const item of items) counts[name(item)] = (counts[name(item)] ?? 0) + 1;
  return counts;
}

/** Returns the problems in the results of `disturb`. */
function faultsOf({ lost, cutOtherwise, cutByKill, repeated, drainCode }) {
  return [
    lost.length > 0 && `${lost.length} answers were lost before they had begun: ${lost[0]}`,
    cutOtherwise.length > 0 && `${cutOtherwise.length} answers of living servers were cut: ${cutOtherwise[0]}`,
    drainCode !== 0 && `the stopped server ended with code ${drainCode}`,
    // Without a request in flight, the kill tested nothing.
    cutByKill + repeated === 0 && "no request was in flight when the server was killed",
  ].filter(Boolean);
}

async function trial(places, where) {
  const folder = await mkdtemp(join(tmpdir(), "heddle-replicas-"));
  process.once("exit", endAll);
  let replicas = [];
  try {
    const model = join(folder, "model");
    await makeModel(model);
    replicas = places.map((place, index) => new Replica(place, { name: `heddle${index + 1}`, program, model, key }));
    await Promise.all(replicas.map((replica) => replica.ready()));
    const outcome = { where, methods: {} };
    const faults = [];
    const ports = (await loopbackPorts(2 * METHODS.length)).map(({ port }) => port);
    const setup = { folder, configurations: join(root, "deploy/haproxy"), replicas, haproxy: haproxyPath() };
    const balancers = METHODS.map(
      (method, i) => new Balancer(method, { ...setup, ports: { api: ports[2 * i], operations: ports[2 * i + 1] } }),
    );
    for (const balancer of balancers) await balancer.sees(replicas.length);
    const figures = await measure(balancers);
    for (const [index, balancer] of balancers.entries()) {
      const { method } = balancer;
      const undisturbed = figures[index];
      const disturbed = await disturb(balancer, replicas, 100 + index);
      outcome.methods[method] = { undisturbed, disturbed };
      faults.push(...faultsOf(disturbed).map((fault) => `${method}: ${fault}`));
      report(method, undisturbed, disturbed);
      // Restart the stopped server for the next balancing method.
      replicas[1].begin();
      await Promise.all(replicas.map((replica) => replica.ready()));
      for (const other of balancers) await other.sees(replicas.length);
    }
    for (const balancer of balancers) await balancer.stop();
    for (const replica of replicas) await replica.stop("SIGTERM");
    if (values.json) console.log(JSON.stringify({ ...outcome, faults }));
    return faults;
  } catch (error) {
    for (const { name, child } of replicas)
      for (const line of child.log.split("\n").filter((one) => / 5\d\d, /.test(one))) say(`${name}: ${line}`);
    throw error;
  } finally {
    endAll();
    await rm(folder, { recursive: true, force: true });
  }
}

function report(method, undisturbed, disturbed) {
  const ms = (value) => `${Math.round(value)} ms`;
  const servers = (counts) =>
    Object.entries(counts)
      .map((one) => one.join(" "))
      .sort()
      .join(", ");
  const { p50Ms, p99Ms, firstTokenP50Ms, firstTokenP99Ms, cachedShare, meanPromptTokens, requestsPerSecond } =
    undisturbed;
  say(
    `${method}: ${undisturbed.requests} requests, ${requestsPerSecond.toFixed(1)}/s (${servers(undisturbed.byServer)})`,
  );
  say(
    `  answer p50 ${ms(p50Ms)}, p99 ${ms(p99Ms)}; first token p50 ${ms(firstTokenP50Ms)}, p99 ${ms(firstTokenP99Ms)}`,
  );
  say(
    `  ${Math.round(meanPromptTokens)} prompt tokens, ${(100 * cachedShare).toFixed(1)} % of them from the prefix cache`,
  );
  say(
    `  one killed, one stopped: ${disturbed.requests} requests (${servers(disturbed.byServer)}), p99 ${ms(disturbed.p99Ms)}`,
  );
  say(`  whole ${disturbed.whole}, cut by the kill ${disturbed.cutByKill}, lost ${disturbed.lost.length}`);
  say(
    `  sent again ${disturbed.repeated}; stopped in ${disturbed.drainSeconds.toFixed(1)} s with code ${disturbed.drainCode}`,
  );
}

haproxyPath();
if (!existsSync(program)) missing("dist/cli/main.js", "npm run build");
if (!existsSync(join(root, "node_modules/prom-client"))) missing("prom-client", "npm install");
const reason = values.loopback ? "--loopback" : values.inside ? undefined : whyNoNamespaces();
if (values.inside || reason !== undefined) {
  const places = values.inside ? namespaces(3) : await loopbackPorts(3);
  const where = values.inside ? "network namespaces" : "loopback ports";
  say(`Three servers on ${where}${reason === undefined ? "" : ` (no network namespaces: ${reason})`}`);
  const faults = await trial(places, where);
  for (const fault of faults) say(`FAILED ${fault}`);
  process.exit(faults.length > 0 ? 1 : 0);
}
const self = [process.execPath, fileURLToPath(import.meta.url), "--inside", ...(values.json ? ["--json"] : [])];
const [first, ...rest] = ownNetwork(self);
process.exit(spawnSync(first, rest, { stdio: "inherit" }).status ?? 1);
