// Tests the built bin entry in a separate process. `npm test` builds it first.
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { command as chatCommand } from "../../../lib/cli/commands/chat.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { folder, heddle, model, start } from "../tiny.ts";

describe("chat", () => {
  test("answers each line of input as a turn of one conversation", async () => {
    const args = ["chat", "--model", model, "--temperature", "0", "--max-tokens", "5", "--ignore-eos"];
    const { code, stdout } = await heddle([...args, "--json"], "The cat\n\nThe dog\n");
    expect(code).toBe(0);
    const answers = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(answers.map((a) => a.completionTokens)).toEqual([5, 5]);
    await using loaded = await LanguageModel.load(model);
    const options = { temperature: 0, maxTokens: 5, ignoreEos: true };
    const first = await loaded.complete("The cat", options);
    expect(answers[0].text).toBe(first.text);
    expect(answers[1].text).toBe((await loaded.complete(`The cat${first.text}\nThe dog`, options)).text);
  });

  test("--session continues a conversation", async () => {
    const file = join(folder, "conversation");
    const args = ["chat", "--model", model, "--temperature", "0", "--max-tokens", "5", "--ignore-eos", "--json"];
    const whole = (await heddle(args, "The cat\nThe dog\n")).stdout.trimEnd().split("\n");
    const parts = [];
    for (const line of ["The cat\n", "The dog\n"])
      parts.push((await heddle([...args, "--session", file, "--cache-dtype", "f32"], line)).stdout.trimEnd());
    const said = (line: string) => JSON.parse(line).text;
    expect(parts.map(said)).toEqual(whole.map(said));
    const { code, stderr } = await heddle([...args, "--session", file, "--system", "Be brief."], "x\n");
    expect([code, stderr]).toEqual([2, "heddle: --system: cannot be set for an existing conversation\n"]);
    expect((await heddle([...args, "--cache-dtype", "q9"], "x\n")).stderr).toContain("f32, bf16, f16 or q8");
  });

  test("accepts tools and template variables, and rejects invalid ones", async () => {
    const tools = join(folder, "tools.json");
    await writeFile(tools, JSON.stringify([{ name: "weather" }]));
    const args = ["chat", "--model", model, "--max-tokens", "2", "--json"];
    for (const [given, expected] of [
      [["--tools", tools], "--tools: expected a model with a chat template, got one without"],
      [["--tools", join(folder, "none.json")], "none.json: cannot be read: no such file"],
      [["--template-variables", "{"], "--template-variables: expected JSON"],
      [["--template-variables", "[]"], "--template-variables: expected an object, got []"],
    ] as const)
      expect(await heddle([...args, ...given], "x\n")).toMatchObject({
        code: 2,
        stderr: expect.stringContaining(expected),
      });
    const shown = join(folder, "templated");
    await cp(model, shown, { recursive: true });
    const chatTemplate =
      "{% for t in tools %}{{ t.name }}{% endfor %}{{ kind }}{% for m in messages %}{{ m.content }}{% endfor %}";
    await writeFile(join(shown, "chat_template.jinja"), chatTemplate);
    const greedy = ["--temperature", "0", "--max-tokens", "5", "--ignore-eos", "--json"];
    const variables = ["--tools", tools, "--template-variables", '{ "kind": " sea " }'];
    const { stdout, stderr } = await heddle(["chat", "--model", shown, ...variables, ...greedy], "The cat\n");
    expect(stderr).toBe("");
    await using loaded = await LanguageModel.load(model);
    const ids = loaded.tokenizer!.encode("weather sea The cat", { addSpecialTokens: false });
    expect(JSON.parse(stdout).text).toBe(
      (await loaded.complete(ids, { temperature: 0, maxTokens: 5, ignoreEos: true })).text,
    );
  });

  test("template variables that are not JSON are an invalid argument, not an invalid file", async () => {
    const input = { options: { "template-variables": "{" } } as unknown as Parameters<typeof chatCommand.run>[0];
    await expect(chatCommand.run(input)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("--template-variables: expected JSON"),
    });
  });

  test("Ctrl-C stops the answer but not the program", async () => {
    const child = start(["chat", "--model", model, "--max-tokens", "1000000", "--ignore-eos"]);
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    const closed = new Promise((resolve) => child.on("close", resolve));
    const until = async (done: () => boolean) => {
      for (let i = 0; i < 800 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
      expect(done()).toBe(true);
    };
    for (const line of ["The cat", "The dog"]) {
      out = "";
      child.stdin.write(`${line}\n`);
      await until(() => out.length > 20); // uninterrupted, the answer would take minutes
      child.kill("SIGINT");
      await until(() => out.endsWith("\n"));
      const length = out.length;
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(out.length).toBe(length);
      expect(child.exitCode).toBe(null);
    }
    child.stdin.end();
    expect(await closed).toBe(0);
  });
});
