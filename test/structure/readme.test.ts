// TypeScript examples in the README and guides compile. The examples of the README and the recipes for library authors also run. Links are
// valid.
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
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

/** Everything that a program printed: arguments of `console.log`, and texts written to stdout. */
type Printed = readonly (readonly unknown[])[];

/** Runs a program in a new folder with the given files, and removes the folder. */
async function printedBy(code: string, files: Readonly<Record<string, string>> = {}): Promise<Printed> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-readme-"));
  const home = process.cwd();
  const printed: unknown[][] = [];
  const log = vi.spyOn(console, "log").mockImplementation((...line) => void printed.push(line));
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push([text]) > 0);
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    const file = join(folder, "example.ts");
    await writeFile(file, code);
    process.chdir(folder);
    await import(file);
    return printed;
  } finally {
    process.chdir(home);
    log.mockRestore();
    write.mockRestore();
    await rm(folder, { recursive: true, force: true });
  }
}

const isNumber = (said: unknown) => typeof said === "number" && Number.isFinite(said);

test.each(blocksOf(recipes).map((code) => [/^(?:const|import).*$/m.exec(code)![0], code] as const))(
  "the recipe that begins with %s runs",
  async (_, code) => {
    const rows = Array.from({ length: 24 }, (_, n) => JSON.stringify({ text: `The number after ${n} is ${n + 1}.` }));
    const lines = await printedBy(code, { "rows.jsonl": rows.join("\n") });
    // Each printed line must contain a number. A recipe prints losses, probabilities or results of a program.
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.every((line) => line.some(isNumber))).toBe(true);
  },
);

const [generating, training] = blocksOf(pages.get("README.md")!);

test.skipIf(!existsSync(join(root, "models/default/config.json")))(
  "README's first example prints the documented output with the embedded model",
  async () => {
    const printed = (await printedBy(generating!)).flat();
    expect(printed.slice(0, -2).join("")).toBe(" Paris.");
    expect(printed.slice(-2)).toEqual([
      expect.objectContaining({ completionTokens: 3 }),
      expect.stringContaining("Tokyo"),
    ]);
  },
);

test("README's training example prints a loss for each step, and then a text of the trained model", async () => {
  const steps = 2;
  const code = training!.replace("maxSteps: 300", `maxSteps: ${steps}`);
  expect(code).not.toBe(training);
  const printed = await printedBy(code, { "corpus.txt": [...pages.values()].join("\n\n") });
  const losses = printed.slice(0, -1);
  expect(losses.map(([step]) => step)).toEqual(Array.from({ length: steps }, (_, i) => i + 1));
  expect(losses.every(([, loss]) => isNumber(loss))).toBe(true);
  expect(printed.at(-1)).toEqual([expect.stringMatching(/./)]);
});

/** Commands that run until they are stopped. */
const LASTING = /\bheddle (?:serve|chat|rank)\b|\bcompose\b.* up$/;

test.each([...pages.keys()])("no code block of %s has a command after one that runs until it is stopped", (name) => {
  const blocks = [...pages.get(name)!.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block]) => block!);
  for (const block of blocks) {
    const commands = block
      .replaceAll("\\\n", " ")
      .split("\n")
      .map((line) => line.replace(/(?:^|\s)#.*/, "").trim())
      .filter(Boolean);
    expect(commands.slice(0, -1).filter((command) => LASTING.test(command))).toEqual([]);
  }
});

test("README fits into one and a half screens", () => {
  const readme = pages.get("README.md")!;
  expect(readme.split("\n").length).toBeLessThanOrEqual(86);
  expect(readme.split(/\s+/).length).toBeLessThanOrEqual(650);
});

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
