// README's TypeScript: all of it compiles against the package's types, and the recipes for authors of libraries run.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = await readFile(join(root, "README.md"), "utf8");
const section = readme.slice(readme.indexOf("## For authors of libraries"), readme.indexOf("## What it reads"));
const blocksOf = (text: string) => [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);

test("every example in TypeScript compiles", () => {
  const files = new Map(blocksOf(readme).map((code, i) => [join(root, `readme-${i}.ts`), `${code}\nexport {};\n`]));
  expect(files.size).toBeGreaterThan(5);
  expect(blocksOf(section)).toHaveLength(3);
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile, readFile: read } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? read(name);
  host.getSourceFile = (name, version, ...rest) => {
    const code = files.get(name);
    return code === undefined ? getSourceFile(name, version, ...rest) : ts.createSourceFile(name, code, version, true);
  };
  const program = ts.createProgram([...files.keys()], { ...options, noEmit: true, noUnusedLocals: false }, host);
  const wrong = [...files.keys()].flatMap((name) => program.getSemanticDiagnostics(program.getSourceFile(name)));
  expect(wrong.map((d) => `${d.file?.fileName}: ${ts.flattenDiagnosticMessageText(d.messageText, " ")}`)).toEqual([]);
}, 60_000);

test.each(blocksOf(section).map((code, i) => [/^(?:const|import).*$/m.exec(code)![0], code, i] as const))(
  "the recipe that begins with %s runs",
  async (_, code, i) => {
    const folder = await mkdtemp(join(tmpdir(), "heddle-readme-"));
    const home = process.cwd();
    try {
      const rows = Array.from({ length: 24 }, (_, n) => JSON.stringify({ text: `The number after ${n} is ${n + 1}.` }));
      await writeFile(join(folder, "rows.jsonl"), rows.join("\n"));
      await mkdir(join(folder, "out"));
      const file = join(folder, `recipe-${i}.ts`);
      await writeFile(file, code);
      process.chdir(folder);
      const lines: unknown[][] = [];
      const { log } = console;
      console.log = (...line: unknown[]) => void lines.push(line);
      try {
        await import(file);
      } finally {
        console.log = log;
      }
      // Numbers that a step, a token or a program told.
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.every((line) => line.some((said) => typeof said === "number" && Number.isFinite(said)))).toBe(true);
    } finally {
      process.chdir(home);
      await rm(folder, { recursive: true, force: true });
    }
  },
  60_000,
);
