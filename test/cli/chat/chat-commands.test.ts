// Commands of a chat whose input is a pipe. Notes are on stderr, answers on stdout.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { folder, heddle, model } from "../tiny.ts";

const greedy = ["--temperature", "0", "--max-tokens", "4", "--ignore-eos"];
const chat = (input: string, ...args: string[]) => heddle(["chat", "--model", model, ...greedy, ...args], input);
const saved = async (name: string) => JSON.parse(await readFile(join(folder, name), "utf8"));
const roles = ({ messages }: { messages: { role: string }[] }) => messages.map(({ role }) => role);

describe("chat commands", () => {
  test("/save writes a conversation that --resume, /load and model.chat continue alike", async () => {
    const first = await chat("The cat\n/save a.json\n");
    expect(first).toMatchObject({ code: 0, stderr: "Saved 2 messages to a.json.\n" });
    expect(roles(await saved("a.json"))).toEqual(["user", "assistant"]);
    const whole = (await chat("The cat\nThe dog\n", "--json")).stdout.split("\n")[1]!;
    const resumed = await chat("The dog\n", "--json", "--resume", "a.json");
    expect(JSON.parse(resumed.stdout).text).toBe(JSON.parse(whole).text);
    const loaded = await chat("/load a.json\nThe dog\n", "--json");
    expect(loaded.stderr).toBe("Loaded 2 messages from a.json.\n");
    expect(JSON.parse(loaded.stdout).text).toBe(JSON.parse(whole).text);
    await using own = await LanguageModel.load(model);
    using again = own.chat(await saved("a.json"));
    const { text } = await again.send("The dog", { temperature: 0, maxTokens: 4, ignoreEos: true });
    expect(text).toBe(JSON.parse(whole).text);
  });

  test("/system sets, replaces and shows the system prompt, and /clear keeps it", async () => {
    const input = "/system\n/system Be brief.\nThe cat\n/system Be kind.\n/system\n/clear\n/save b.json\n";
    expect((await chat(input)).stderr.split("\n")).toEqual([
      "There is no system prompt.",
      "The system prompt is set.",
      "The system prompt is set.",
      "Be kind.",
      "The conversation is empty.",
      "Saved 1 message to b.json.",
      "",
    ]);
    expect((await saved("b.json")).messages).toEqual([{ role: "system", content: "Be kind." }]);
    const begun = await chat("/system\n/system Other.\n/clear\n/system\n", "--system", "First.");
    expect(begun.stderr).toBe("First.\nThe system prompt is set.\nThe conversation is empty.\nOther.\n");
  });

  test("/system shows the text of a system prompt that has parts", async () => {
    const content = [
      { type: "text", text: "Be brief." },
      { type: "text", text: "Be kind." },
    ];
    // Content with parts needs a chat template.
    await using withTemplate = tinyModel({ tokenizer: (await tinyTokenizer()).withChatTemplate() });
    await withTemplate.save(join(folder, "templated"));
    await writeFile(join(folder, "parts.json"), JSON.stringify({ messages: [{ role: "system", content }] }));
    const resumed = await heddle(["chat", "--model", "templated", "--resume", "parts.json"], "/system\n");
    expect(resumed).toMatchObject({ code: 0, stderr: "Be brief.\nBe kind.\n" });
  });

  test("the first line of a file with a byte-order mark can be a command", async () => {
    expect((await chat("\ufeff/system\nThe cat\n/save bom.json\n")).stderr).toBe(
      "There is no system prompt.\nSaved 2 messages to bom.json.\n",
    );
    await chat("\ufeffThe cat\n/save bom.json\n");
    expect((await saved("bom.json")).messages[0]).toEqual({ role: "user", content: "The cat" });
  });

  test("/help lists every command, and /exit ends the chat before the lines that follow it", async () => {
    const { code, stdout, stderr } = await chat("/help\n/exit\nThe cat\n");
    expect([code, stdout]).toEqual([0, ""]);
    for (const name of ["/help", "/clear", "/system TEXT", "/save FILE", "/load FILE", "/exit"])
      expect(stderr).toContain(`  ${name} `);
  });

  test.each([
    ["/help me", '/help: expected no argument, got "me"'],
    ["/save", "/save: expected the path of a file, got nothing"],
    ["/save notes.txt", "notes.txt: expected a new file or a saved conversation, got another file"],
    ["/save none/x.json", "none/x.json: cannot be written"],
    ["/load none.json", "none.json: cannot be read: no such file or folder"],
    ["/load other.json", "other.json: expected a conversation { messages }, got an object"],
    ["/load wrong.json", "wrong.json: "],
  ])("%s in a pipe ends the chat with its error, before the next message", async (line, expected) => {
    await writeFile(join(folder, "notes.txt"), "my notes");
    await writeFile(join(folder, "other.json"), "{}");
    await writeFile(join(folder, "wrong.json"), '{ "messages": [{ "content": 3 }] }');
    const { code, stdout, stderr } = await chat(`${line}\nThe cat\n`, "--json");
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
    expect(stderr).toContain(expected);
    expect(await readFile(join(folder, "notes.txt"), "utf8")).toBe("my notes");
  });

  test("lines of a pipe that begin with a slash and name no command are messages", async () => {
    const lines = ["/no_think", "/think", "/sytem x", "/constructor", "/"];
    const { code, stdout, stderr } = await chat(`${lines.join("\n")}\n/save slash.json\n`, "--json");
    expect([code, stderr]).toEqual([0, "Saved 10 messages to slash.json.\n"]);
    expect(stdout.trimEnd().split("\n")).toHaveLength(5);
    const { messages } = await saved("slash.json");
    expect(messages.filter((_: unknown, i: number) => i % 2 === 0)).toEqual(
      lines.map((content) => ({ role: "user", content })),
    );
  });

  test("a second /save replaces the first", async () => {
    await chat("The cat\n/save c.json\nThe dog\n/save c.json\n");
    expect(roles(await saved("c.json"))).toEqual(["user", "assistant", "user", "assistant"]);
  });

  test("paths, quoted commands and commands after a space are messages, and a message can have several lines", async () => {
    const { stdout, stderr } = await chat(
      '/etc/hosts\n /help\n"""/help"""\n"""\na\n\nb\n"""\nx\\\ny\n/save d.json\nlast\\\n',
      "--json",
    );
    expect(stderr).toBe("Saved 10 messages to d.json.\n");
    const said = (await saved("d.json")).messages.filter(({ role }: { role: string }) => role === "user");
    expect(said.map(({ content }: { content: string }) => content)).toEqual([
      "/etc/hosts",
      " /help",
      "/help",
      "a\n\nb",
      "x\ny",
    ]);
    // The last line ends with a backslash, but no line follows it. It is a message without the backslash.
    const answers = stdout.trimEnd().split("\n");
    expect(answers).toHaveLength(6);
    const resumed = await chat("last\n", "--json", "--resume", "d.json");
    const { text, tokens, promptTokens } = JSON.parse(resumed.stdout);
    expect(JSON.parse(answers[5]!)).toMatchObject({ text, tokens, promptTokens });
  });

  test("a message without its closing quotes at the end of the input is answered", async () => {
    const { stdout } = await chat('"""\nThe cat', "--json");
    expect(JSON.parse(stdout).text).toBe(JSON.parse((await chat("The cat\n", "--json")).stdout).text);
  });

  test("--resume rejects --system, --session, and files without a conversation", async () => {
    await chat("The cat\n/save e.json\n");
    for (const [args, expected] of [
      [["--resume", "e.json", "--system", "x"], "--system: cannot be set for an existing conversation"],
      [["--resume", "e.json", "--session", "s"], "--resume: cannot be used together with --session"],
      [["--resume", "missing.json"], "missing.json: cannot be read: no such file"],
      [["--resume", "corpus.txt"], "corpus.txt: expected JSON"],
    ] as const)
      expect(await chat("x\n", ...args)).toMatchObject({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining(expected),
      });
  });

  test("output to a pipe has colors only if FORCE_COLOR is set", async () => {
    expect((await chat("/system\n")).stderr).toBe("There is no system prompt.\n");
    process.env.FORCE_COLOR = "1";
    try {
      expect((await chat("/system\n")).stderr).toBe("\x1b[2mThere is no system prompt.\x1b[22m\n");
    } finally {
      delete process.env.FORCE_COLOR;
    }
  });
});
