// webpack and Next.js with and without their configuration line. `npm run test:runtimes` runs them, since Next.js takes minutes.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
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
    return spawnSync(process.execPath, [out], { cwd: app, encoding: "utf8" });
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

  /** Starts a standalone server and returns the answer to one request, with what the server printed. */
  async function ask(place: string) {
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
    const response = await fetch(`http://127.0.0.1:${port}/generate`);
    const answer = { status: response.status, text: await response.text() };
    server.kill();
    await closed;
    return { ...answer, log };
  }

  test("a deployed route generates with heddle external and its files copied", async () => {
    const place = build(`serverExternalPackages: ["heddle"],
      outputFileTracingIncludes: { "/*": ["node_modules/heddle/**", "node_modules/@heddle/**"] }`);
    const { status, text, log } = await ask(place);
    expect(status, log).toBe(200);
    expect(JSON.parse(text).text).toMatch(/^ Paris/);
  });

  test("a deployed route that includes heddle reports the missing option", async () => {
    const { status, log } = await ask(build(""));
    expect(status).toBe(500);
    expect(log).toMatch(/heddle: expected to run .*Next\.js: serverExternalPackages: \["heddle"\]/);
  });
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
