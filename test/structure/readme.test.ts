// TypeScript examples in the README and guides compile, the recipes for library authors run, and links are valid.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test, vi } from "vitest";
import { stages } from "../../lib/cli/options/stage-table.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const guides = (await readdir(join(root, "docs"))).filter((name) => name.endsWith(".md"));
const pages = new Map<string, string>();
for (const name of ["README.md", ...guides.map((guide) => `docs/${guide}`)])
  pages.set(name, await readFile(join(root, name), "utf8"));
const recipes = pages.get("docs/extending.md")!;
const blocksOf = (text: string) => [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);

test.each(Object.entries(stages))("the guides name the function and the command of the stage %s", async (name, row) => {
  const { run } = await row.load();
  const [, introduction] = pages.get("docs/training.md")!.split(/(?:\r?\n){2}/);
  expect(introduction).toContain(`\`${run.name}\``);
  expect(pages.get("docs/command-line.md")).toMatch(new RegExp(`\`heddle train (\\w+\\\\\\|)*${name}\\b`));
});

test("every TypeScript example compiles", () => {
  const files = new Map(
    [...pages].flatMap(([name, text]) =>
      blocksOf(text).map((code, i) => [join(root, `${name}-${i}.ts`), `${code}\nexport {};\n`] as const),
    ),
  );
  expect(files.size).toBeGreaterThan(15);
  expect(blocksOf(recipes)).toHaveLength(3);
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
});

test.each(blocksOf(recipes).map((code, i) => [/^(?:const|import).*$/m.exec(code)![0], code, i] as const))(
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
      // Each printed line must contain a number. A recipe prints losses, probabilities or results of a program.
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.every((line) => line.some((said) => typeof said === "number" && Number.isFinite(said)))).toBe(true);
    } finally {
      process.chdir(home);
      await rm(folder, { recursive: true, force: true });
    }
  },
);

test.skipIf(!existsSync(join(root, "models/default/config.json")))(
  "README's first example prints the documented output with the embedded model",
  async () => {
    const [code] = blocksOf(pages.get("README.md")!);
    const folder = await mkdtemp(join(tmpdir(), "heddle-readme-"));
    const printed: unknown[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((...line) => void printed.push(...line));
    const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push(text) > 0);
    try {
      const file = join(folder, "first.ts");
      await writeFile(file, code!);
      await import(file);
    } finally {
      log.mockRestore();
      write.mockRestore();
      await rm(folder, { recursive: true, force: true });
    }
    const streamed = printed.slice(0, -3).join("");
    expect(streamed).toBe(" Paris.");
    expect(printed.slice(-3)).toEqual([
      expect.objectContaining({ completionTokens: 3 }),
      expect.stringContaining("Tokyo"),
      "Rome",
    ]);
  },
);

/** The anchor of a heading. */
const anchor = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

test.each([...pages.keys()])("%s has no broken relative links, and README.md links to every guide", (name) => {
  const links = [
    ...pages
      .get(name)!
      .replace(/^```[\s\S]*?^```$/gm, "")
      .matchAll(/\]\(([^)\s]+)\)/g),
  ]
    .map(([, link]) => link!)
    .filter((link) => !/^https?:/.test(link));
  for (const link of links) {
    const [file, section] = link.split("#");
    const path = file ? join(dirname(name), file) : name;
    expect(existsSync(join(root, path)), `${name}: ${link}`).toBe(true);
    const headings = [...(pages.get(path) ?? "").matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchor(heading!));
    if (section) expect(headings, `${name}: ${link}`).toContain(section);
  }
  if (name === "README.md") for (const guide of guides) expect(links).toContain(`docs/${guide}`);
});
