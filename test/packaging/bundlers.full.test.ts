// webpack and Next.js with and without the configuration that heddle needs. `npm run test:runtimes` runs these tests, since Next.js takes
// minutes.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../helpers/free-port.ts";
import { asked } from "./http.ts";
import { installCheckout, installPackages } from "./installed.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-bundlers-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("webpack", () => {
  let app: string;
  let webpack: string;

  beforeAll(() => {
    app = join(folder, "webpack");
    installCheckout(app);
    webpack = join(installPackages(join(folder, "webpack-tools"), { webpack: "5.113.0" }), "webpack");
  });

  /** Bundles a program and runs the bundle. `options` is the source text of more options. */
  function bundle(program: string, options: string) {
    const module = program.endsWith(".mjs");
    const out = program.replace("generate", "bundle");
    const script = `
      const options = { target: "node", mode: "production", context: process.cwd(), entry: "./${program}",
        output: { path: process.cwd(), filename: "${out}", module: ${module} }, experiments: { outputModule: ${module} }, ${options} };
      require(${JSON.stringify(webpack)})(options, (error, stats) => {
        if (error || stats.hasErrors()) { console.error(error ?? stats.toString({ all: false, errors: true })); process.exit(1); }
      });`;
    const built = spawnSync(process.execPath, ["-e", script], { cwd: app, encoding: "utf8" });
    expect(built.status, built.stderr).toBe(0);
    // Print only the message. Node would also print the source line of the error, which is the whole minified bundle, and a pipe cuts that off.
    const run = `import("./${out}").catch((error) => { console.error(error.message); process.exit(1); })`;
    return spawnSync(process.execPath, ["-e", run], { cwd: app, encoding: "utf8" });
  }

  test.each(["generate.mjs", "generate.cjs"])("a bundle of %s generates with heddle as an external", (program) => {
    const { status, stdout, stderr } = bundle(program, `externalsType: "node-commonjs", externals: [/^heddle/]`);
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ text: expect.stringMatching(/^ Paris/), typedError: true });
  });

  test.each(["generate.mjs", "generate.cjs"])(
    "a bundle of %s that includes heddle reports the missing option",
    (program) => {
      const { status, stderr } = bundle(program, "");
      expect(status).toBe(1);
      expect(stderr).toMatch(/heddle: expected to run .*webpack: externalsType: "node-commonjs", externals: \[/);
    },
  );
});

describe("Next.js", () => {
  let app: string;
  let server: ChildProcess | undefined;
  afterAll(() => void server?.kill());

  beforeAll(() => {
    app = join(folder, "next");
    installCheckout(app, { type: "module" });
    const modules = installPackages(join(folder, "next-tools"), {
      next: "16.4.6",
      react: "19.3.1",
      "react-dom": "19.3.1",
    });
    cpSync(modules, join(app, "node_modules"), { recursive: true });
    mkdirSync(join(app, "app", "generate"), { recursive: true });
    writeFileSync(
      join(app, "app", "generate", "route.js"),
      `import { LanguageModel } from "heddle";
       export const dynamic = "force-dynamic";
       export async function GET() {
         const model = await LanguageModel.load("default");
         const { text } = await model.complete("The capital of France is", { maxTokens: 4, temperature: 0 });
         await model.dispose();
         return Response.json({ text });
       }`,
    );
  });

  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1", NODE_ENV: "production" as const };

  /** Builds the app with more options, given as source text. Returns a copy of its standalone server's folder. */
  function build(options: string): string {
    const config = `export default { output: "standalone", outputFileTracingRoot: import.meta.dirname,
      turbopack: { root: import.meta.dirname }, ${options} };`;
    writeFileSync(join(app, "next.config.mjs"), config);
    rmSync(join(app, ".next"), { recursive: true, force: true });
    const next = join(app, "node_modules", "next", "dist", "bin", "next");
    const { status, stdout, stderr } = spawnSync(process.execPath, [next, "build"], {
      cwd: app,
      env,
      encoding: "utf8",
    });
    expect(status, stdout + stderr).toBe(0);
    const place = mkdtempSync(join(folder, "deployed-"));
    cpSync(join(app, ".next", "standalone"), place, { recursive: true });
    return place;
  }

  /** Starts a standalone server, works with it and stops it. `log` returns what it printed. */
  async function running<T>(place: string, work: (url: string, log: () => string) => Promise<T>): Promise<T> {
    const port = await freePort();
    server = spawn(process.execPath, ["server.js"], {
      cwd: place,
      env: { ...env, PORT: String(port), HOSTNAME: "127.0.0.1" },
    });
    const closed = new Promise((resolve) => server!.on("close", resolve));
    let log = "";
    await new Promise<void>((resolve, reject) => {
      const read = (text: Buffer) => {
        log += text;
        if (log.includes("Ready in")) resolve();
      };
      server!.stdout!.on("data", read);
      server!.stderr!.on("data", read);
      server!.on("exit", () => reject(new Error(log)));
    });
    try {
      return await work(`http://127.0.0.1:${port}`, () => log);
    } finally {
      server.kill();
      await closed;
    }
  }

  /** Returns the answer of the route to one request, with what the server printed. */
  async function generated(url: string, log: () => string) {
    const response = await fetch(`${url}/generate`);
    return { status: response.status, text: await response.text(), log: log() };
  }

  test("deployed routes generate and serve the API with heddle external and its files copied", async () => {
    const route = join(app, "app", "api", "llm", "[...path]");
    mkdirSync(route, { recursive: true });
    writeFileSync(
      join(route, "route.js"),
      `import { LanguageModel } from "heddle";
       import { createFetchHandler } from "heddle/serve";
       const handler = createFetchHandler(await LanguageModel.load("default"), { basePath: "/api/llm" });
       export const dynamic = "force-dynamic";
       export const GET = handler, POST = handler, DELETE = handler;`,
    );
    const place = build(`serverExternalPackages: ["heddle"],
      outputFileTracingIncludes: { "/*": ["node_modules/heddle/**", "node_modules/@heddle/**"] }`);
    // The other test bundles heddle. Its build would fail at this route, which loads the model at build time.
    rmSync(route, { recursive: true });
    await running(place, async (url, printed) => {
      const { status, text, log } = await generated(url, printed);
      expect(status, log).toBe(200);
      expect(JSON.parse(text).text).toMatch(/^ Paris/);
      const { models, completion, streamed, last } = await asked(`${url}/api/llm`, printed);
      expect(models.status, printed()).toBe(200);
      expect(completion.choices[0]!.text).toMatch(/^ Paris/);
      expect([streamed, last]).toEqual([completion.choices[0]!.text, "[DONE]"]);
      const removed = await fetch(`${url}/api/llm/v1/responses/resp_1`, { method: "DELETE" });
      expect(await removed.json()).toMatchObject({ error: { code: "response_not_found" } });
    });
  });

  test("a deployed route that includes heddle reports the missing option", async () => {
    const { status, log } = await running(build(""), generated);
    expect(status).toBe(500);
    expect(log).toMatch(/heddle: expected to run .*Next\.js: serverExternalPackages: \["heddle"\]/);
  });
});
