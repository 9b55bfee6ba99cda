// Completion of command lines: the candidates of the program, and the results in real shells.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { AnyCommand, CommandTable, OptionSpecs } from "../../lib/cli/command.ts";
import { commonOptions } from "../../lib/cli/command.ts";
import { commands } from "../../lib/cli/command-list.ts";
import { completeLine, joinBashWords } from "../../lib/cli/shell/complete-line.ts";
import { offerOf, positionalsOf } from "../../lib/cli/shell/placeholders.ts";
import { bin, runCli } from "./run.ts";
import { hasProgram, hasTerminal, openTerminal, type Terminal } from "./terminal.ts";

// The tests are slow, because a shell starts the program several times.
vi.setConfig({ testTimeout: 240_000 });

let folder: string;
const environment = { ...process.env };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-completion-"));
  for (const name of ["models--some--model", "models--some--other", "models--bad--$(touch x)", "datasets--some--data"])
    await mkdir(join(folder, "hub", name, "snapshots"), { recursive: true });
  const manifests = join(folder, "ollama", "manifests", "registry.ollama.ai", "library", "tiny");
  await mkdir(manifests, { recursive: true });
  await writeFile(join(manifests, "8b"), "{}");
  await mkdir(join(folder, "work", "data folder"), { recursive: true });
  for (const name of ["notes.txt", "rows with blanks.jsonl"]) await writeFile(join(folder, "work", name), "");
  process.env.HF_HUB_CACHE = join(folder, "hub");
  process.env.OLLAMA_MODELS = join(folder, "ollama");
  // The name under which shells find the built command.
  await mkdir(join(folder, "bin"));
  await writeFile(join(folder, "bin", "heddle"), `#!/bin/sh\nexec '${process.execPath}' '${bin}' "$@"\n`);
  await chmod(join(folder, "bin", "heddle"), 0o755);
});
afterAll(async () => {
  process.env = environment;
  await rm(folder, { recursive: true, force: true });
});

/** Returns the completions of the last word of a line. */
async function offered(line: string) {
  const words = line.split(" ");
  const { candidates, files } = await completeLine(words.slice(0, -1), words.at(-1)!, commands);
  return { texts: candidates.map(({ text }) => text), files };
}

async function everyCommand(table: CommandTable = commands, path = ""): Promise<[string, AnyCommand][]> {
  const found: [string, AnyCommand][] = [];
  for (const [name, entry] of Object.entries(table)) {
    const loaded = await entry.load();
    if ("commands" in loaded) found.push(...(await everyCommand(loaded.commands, `${path}${name} `)));
    else found.push([`${path}${name}`, loaded]);
  }
  return found;
}

describe("completion", () => {
  test("offers commands and the commands of a group, with their descriptions", async () => {
    expect((await offered("")).texts).toEqual(Object.keys(commands));
    expect(await offered("to")).toEqual({ texts: ["tokenize", "tokenizer"], files: "none" });
    expect(await offered("-")).toEqual({ texts: ["--help"], files: "none" });
    expect((await offered("train ")).texts).toContain("grpo");
    expect((await offered("tokenizer t")).texts).toEqual(["train"]);
    expect(await offered("nonsense ")).toEqual({ texts: [], files: "none" });
    const { candidates } = await completeLine([], "gen", commands);
    expect(candidates).toEqual([{ text: "generate", about: commands.generate!.about }]);
  });

  test("offers the command's options, without those already given unless they may be repeated", async () => {
    const { texts } = await offered("generate --seed 3 --stop x --");
    for (const name of ["--top-k", "--stop", "--model", "--dtype", "--help"]) expect(texts).toContain(name);
    for (const name of ["--seed", "--include", "--tools"]) expect(texts).not.toContain(name);
    expect((await offered("models --")).texts).toEqual(["--json", "--help"]);
    expect((await offered("generate --de")).texts).toEqual(["--deterministic", "--device"]);
  });

  test("offers the values listed in the usage", async () => {
    expect((await offered("generate --dtype ")).texts).toEqual("auto f32 bf16 f16 q8_0 q4_0 q4_k q6_k".split(" "));
    expect((await offered("generate --device ")).texts).toEqual(["auto", "cpu", "cuda"]);
    expect((await offered("eval --task c")).texts).toEqual(["choice"]);
    expect((await offered("generate --dtype=q4")).texts).toEqual(["--dtype=q4_0", "--dtype=q4_k"]);
    expect((await offered("tokenizer train --algorithm u")).texts).toEqual(["unigram"]);
    expect((await offered("bench ge")).texts).toEqual(["gemm"]);
    expect((await offered("bench gemm tr")).texts).toEqual(["train"]);
    expect((await offered("completion ")).texts).toEqual(["bash", "zsh", "fish", "powershell"]);
    expect(await offered("generate --seed ")).toEqual({ texts: [], files: "none" });
  });

  test("offers files, folders, and models of the cache and of Ollama", async () => {
    const all = ["default", "some/model", "some/other", "ollama:tiny:8b"];
    expect(await offered("generate --model ")).toEqual({ texts: all, files: "files" });
    expect(await offered("serve --model small=some/o")).toEqual({ texts: ["small=some/other"], files: "files" });
    expect((await offered("chat --model=some/o")).texts).toEqual(["--model=some/other"]);
    expect((await offered("convert ")).texts).toEqual(all);
    expect(await offered("models ")).toEqual({ texts: ["rm"], files: "none" });
    expect(await offered("models rm ")).toEqual({ texts: ["some/model", "some/other"], files: "none" });
    expect(await offered("eval --file ")).toEqual({ texts: [], files: "files" });
    expect(await offered("lifecycle --out ")).toEqual({ texts: [], files: "folders" });
    expect(await offered("tokenizer train a.txt b.txt ")).toEqual({ texts: [], files: "files" });
    expect(await offered("generate ")).toEqual({ texts: [], files: "none" });
    expect(await offered("convert -- ")).toMatchObject({ files: "files" });
    expect(await offered("convert a b ")).toEqual({ texts: [], files: "none" });
  });

  test("knows the placeholder of every option value and argument", async () => {
    const known = (value = "") => offerOf(value) !== undefined && offerOf(value, "a=") !== undefined;
    const all = await everyCommand();
    expect(all.length).toBeGreaterThan(25);
    for (const [name, { options, positionals }] of all) {
      for (const [option, { kind, value }] of Object.entries({ ...commonOptions, ...options } as OptionSpecs))
        if (kind === "string") expect([name, option, value, known(value)]).toEqual([name, option, value, true]);
      for (const one of positionals ? positionalsOf(positionals.usage) : [])
        expect([name, one, known(one)]).toEqual([name, one, true]);
    }
  });

  test("joins the words that Bash splits at = and :", () => {
    expect(joinBashWords(["generate", "--dtype", "=", "q"], 3)).toEqual({
      before: ["generate"],
      current: "--dtype=q",
      cut: 8,
    });
    expect(joinBashWords(["generate", "--dtype", "="], 2)).toEqual({
      before: ["generate"],
      current: "--dtype=",
      cut: 8,
    });
    expect(joinBashWords(["chat", "--model", "ollama", ":", "ti"], 4)).toEqual({
      before: ["chat", "--model"],
      current: "ollama:ti",
      cut: 7,
    });
    expect(joinBashWords(["chat", "--dtype", "=", "f32", "--mo"], 4)).toEqual({
      before: ["chat", "--dtype=f32"],
      current: "--mo",
      cut: 0,
    });
    expect(joinBashWords(["chat"], 1)).toEqual({ before: ["chat"], current: "", cut: 0 });
  });
});

test("heddle completion rejects unknown shells and invalid word indexes", async () => {
  expect(await runCli(["completion", "tcsh"])).toMatchObject({
    code: 2,
    stderr: 'heddle: arguments: expected one of bash, zsh, fish, powershell, got "tcsh"\n',
  });
  expect(await runCli(["completion", "fish", "x"])).toMatchObject({ code: 2, stdout: "" });
});

test("heddle completion --json prints the shell and its script", async () => {
  const { stdout } = await runCli(["completion", "powershell", "--json"]);
  expect(JSON.parse(stdout)).toEqual({
    shell: "powershell",
    script: expect.stringContaining("Register-ArgumentCompleter"),
  });
});

const has = (shell: string) => hasTerminal && hasProgram(shell, `completion in ${shell} is not tested`);

/** The environment in which shells find the built command. */
const shellEnvironment = () => ({ PATH: `${join(folder, "bin")}:${process.env.PATH}`, HOME: folder });

/** Writes the script of a shell to a file, once. */
async function scriptOf(shell: string): Promise<string> {
  const file = join(folder, `script.${shell}`);
  if (!existsSync(file)) await writeFile(file, (await runCli(["completion", shell])).stdout);
  return file;
}

/** Runs a shell in a folder with files. */
async function run(shell: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, ...shellEnvironment(), TERM: "dumb" };
  const { stdout } = await promisify(execFile)(shell, [...args], { cwd: join(folder, "work"), env });
  return stdout;
}

/** Deletes the line that is being typed. */
const CLEAR = "\x15";
let terminal: Terminal | undefined;
afterEach(() => terminal?.kill());

/** Opens a shell in a terminal, and loads the script. */
async function opened(shell: string, setup: string): Promise<Terminal> {
  terminal = openTerminal(shell, { cwd: join(folder, "work"), env: { ...shellEnvironment(), PS1: "$ " } });
  terminal.type(`${setup}; echo rea''dy\r`);
  await terminal.until(/ready\s[\s\S]*[$%#] /);
  return terminal;
}

describe.runIf(has("bash"))("in Bash", () => {
  /** Completes words as readline would split them. @returns the changed options of the completion, then the replies */
  async function completed(...words: string[]): Promise<string[]> {
    const file = await scriptOf("bash");
    // Loading the script twice has no further effect.
    const script = `source ${file}; source ${file}
      compopt() { echo "compopt $*"; }
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _heddle
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    return (await run("bash", ["--norc", "-c", script, "bash", "heddle", ...words])).trimEnd().split("\n");
  }

  test("completes commands, options, values and models", async () => {
    expect(await completed("tok")).toEqual(["compopt +o default", "tokenize", "tokenizer"]);
    expect(await completed("generate", "--dtype", "=", "q4")).toEqual(["compopt +o default", "q4_0", "q4_k"]);
    expect(await completed("chat", "--model", "so")).toEqual(["some/model", "some/other"]);
    expect(await completed("chat", "--model", "ollama", ":", "")).toEqual(["tiny:8b"]);
    expect(await completed("eval", "--file", "no")).toEqual([""]);
    expect(await completed("lifecycle", "--out", "")).toEqual(["compopt +o default -o dirnames"]);
    expect(await completed("generate", "$(touch run)", "--see")).toEqual(["compopt +o default", "--seed"]);
    expect(existsSync(join(folder, "work", "run"))).toBe(false);
  });

  test("completes at the Tab key, including file names with blanks", async () => {
    const { type, until } = await opened("bash --norc --noprofile -i", "source <(heddle completion bash)");
    type("heddle generate --dty\t");
    await until("--dtype ");
    type("q8\t");
    await until("q8_0 ");
    type("--model=some/o\t");
    await until("some/other ");
    type("--file ro\t");
    await until("rows\\ with\\ blanks.jsonl ");
    type(CLEAR);
    type("heddle lifecycle --out da\t");
    await until("data\\ folder/");
  });
});

describe.runIf(has("zsh"))("in zsh", () => {
  test("completes at the Tab key, with descriptions", async () => {
    const setup = "autoload -U compinit; compinit -u -D; source <(heddle completion zsh)";
    const { type, until } = await opened("zsh -f -i", setup);
    type("heddle tok\t\t");
    await until("convert text to token ids");
    type(`${CLEAR}heddle generate --dty\t`);
    await until("pe");
    type("q8\t");
    await until("_0");
    type("--model=some/o\t");
    await until("ther");
    type("--model ollama:\t");
    await until("tiny");
    type("--file ro\t");
    await until("ws\\ with\\ blanks.jsonl");
    type(`${CLEAR}heddle eval --file=ro\t`);
    await until("ws\\ with\\ blanks.jsonl");
    type(`${CLEAR}heddle lifecycle --out \t`);
    await until("data\\ folder");
  });
});

describe.runIf(has("fish"))("in fish", () => {
  test("completes commands, options, values, models, files and folders", async () => {
    const completed = async (line: string) => {
      const script = `source ${await scriptOf("fish")}; complete -C '${line}'`;
      return (await run("fish", ["--no-config", "-c", script])).trimEnd().split("\n");
    };
    expect(await completed("heddle tok")).toEqual([
      `tokenize\t${commands.tokenize!.about}`,
      `tokenizer\t${commands.tokenizer!.about}`,
    ]);
    expect(await completed("heddle generate --see")).toEqual([expect.stringMatching(/^--seed\t/)]);
    expect(await completed("heddle generate --dtype=q4")).toEqual(["--dtype=q4_0", "--dtype=q4_k"]);
    expect(await completed("heddle chat --model some/o")).toEqual(["some/other\tin the cache"]);
    expect(await completed("heddle eval --file ro")).toEqual([expect.stringMatching(/^rows with blanks.jsonl/)]);
    expect(await completed("heddle eval --file=ro")).toEqual([expect.stringMatching(/^--file=rows with blanks.jsonl/)]);
    expect(await completed("heddle lifecycle --out ")).toEqual([expect.stringMatching(/^data folder\//)]);
    expect(await completed("heddle generate --seed ")).toEqual([""]);
  });
});
