// The processes of the trial: servers, and HAProxy with the configuration of deploy/haproxy in front of them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const running = new Set();

/** Ends all processes that are still running. */
export function endAll() {
  for (const child of running) child.kill("SIGKILL");
}

function start(command, options) {
  const [program, ...args] = command;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  running.add(child);
  child.ended = once(child, "close").then(([code, signal]) => {
    running.delete(child);
    return { code, signal };
  });
  child.log = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => {
      child.log += text;
    });
  return child;
}

async function until(condition, what, ms = 60_000) {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`expected ${what} within ${ms / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function answers(url) {
  const response = await fetch(url, { headers: { connection: "close" } }).catch(() => undefined);
  await response?.body?.cancel();
  return response?.ok === true;
}

/** A server with one thread. */
export class Replica {
  /** @param {import("./network.mjs").Place} place */
  constructor(place, { name, program, model, key }) {
    const { host, port } = place;
    Object.assign(this, { name, host, port });
    const options = ["--model", `default=${model}`, "--host", host, "--port", String(port), "--threads", "1"];
    const command = [
      process.execPath,
      program,
      "serve",
      ...options,
      "--metrics-without-key",
      "--close-timeout",
      "30",
      "--log",
    ];
    this.begin = () => {
      this.child = start(place.wrap(command), { env: { ...process.env, HEDDLE_API_KEY: key } });
    };
    this.begin();
  }

  async ready() {
    const { child } = this;
    await until(() => {
      if (child.exitCode !== null) throw new Error(`${this.name} ended: ${child.log}`);
      return answers(`http://${this.host}:${this.port}/ready`);
    }, `${this.name} to be ready`);
  }

  /** Sends a signal. @returns how the process ended */
  async stop(signal) {
    this.child.kill(signal);
    return this.child.ended;
  }
}

/** HAProxy, which balances requests among replicas. */
export class Balancer {
  /** @param {"least-connections" | "prefix-hash"} method */
  constructor(method, { folder, configurations, replicas, haproxy, ports }) {
    this.method = method;
    this.url = `http://127.0.0.1:${ports.api}`;
    this.operations = `http://127.0.0.1:${ports.operations}`;
    const edits = {
      "base.cfg": [
        ["bind :8080", `bind 127.0.0.1:${ports.api}`],
        ["bind :8404", `bind 127.0.0.1:${ports.operations}`],
      ],
      [`${method}.cfg`]: [
        [/server-template .*/, replicas.map(({ name, host, port }) => `server ${name} ${host}:${port}`).join("\n    ")],
      ],
    };
    const files = Object.entries(edits).map(([name, changes]) => {
      let text = readFileSync(join(configurations, name), "utf8");
      for (const [from, to] of changes) {
        if (text.split(from).length !== 2) throw new Error(`${name}: expected one ${from}`);
        text = text.replace(from, to);
      }
      const edited = join(folder, `${method}-${name}`);
      writeFileSync(edited, text);
      return edited;
    });
    this.child = start([haproxy, "-W", "-db", ...files.flatMap((file) => ["-f", file])]);
  }

  /** Waits until HAProxy counts `count` servers as up. */
  async sees(count) {
    await until(async () => {
      if (this.child.exitCode !== null) throw new Error(`HAProxy ended: ${this.child.log}`);
      const up = await this.metric(/^haproxy_server_status\{proxy="heddle",server="[^"]+",state="UP"\} (\d+)/gm);
      return up === count;
    }, `HAProxy to see ${count} servers`);
  }

  /** Returns the sum of a metric's samples. */
  async metric(pattern) {
    const response = await fetch(`${this.operations}/metrics`).catch(() => undefined);
    if (!response?.ok) return undefined;
    return [...(await response.text()).matchAll(pattern)].reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** Returns the number of requests that HAProxy sent again, to the same server or to another. */
  async repeated() {
    const of = (name) => this.metric(new RegExp(`^haproxy_backend_${name}_total\\{proxy="heddle"\\} (\\d+)`, "gm"));
    return (await of("retry_warnings")) + (await of("redispatch_warnings"));
  }

  async stop() {
    this.child.kill("SIGTERM");
    await this.child.ended;
  }
}
