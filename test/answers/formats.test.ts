// Every format reads what its family writes, in any chunks, and leaves everything else as text.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { callFormatOf } from "../../lib/answers/call-formats.ts";
import { AnswerReader } from "../../lib/answers/reader.ts";
import { cpuMilliseconds } from "../helpers/clock.ts";
import { opensOf, pieces, type Read, read, readers, written } from "./helpers.ts";

const sea = ["sea", { place: 'Kyoto "é" 🌊\n<b>', depth: 12, tags: ["a", "<|x|>"] }] as const;
const now = ["now", {}] as const;
const [seaArguments, nowArguments] = [sea, now].map(([, args]) => JSON.stringify(args)) as [string, string];
const only = (text: string): Read => ({ text, reasoning: "", calls: [] });

describe.each(readers)("%s", (name, options) => {
  const isHarmony = name === "harmony";
  const isBare = name === "llama" || name === "glm_plain";
  const hasOneCall = name === "glm_plain";
  const one = written(name, [sea]);

  test("leaves an answer without calls as it is", () => {
    for (const text of ["", "Hello, 1 < 2 and {x}.\n", " a <b> [c] \n", "<", "{}", '{"a": 1}', "[1]"])
      expect(read(options, [text])).toEqual(only(text));
  });

  test("reads a call", () => {
    const expected = { text: "", reasoning: "", calls: [["sea", seaArguments]] };
    expect(read(options, [one])).toEqual(expected);
    expect(read(options, [...one])).toEqual(expected);
  });

  test("reads a call without arguments", () => {
    expect(read(options, [written(name, [now])])).toEqual({ text: "", reasoning: "", calls: [["now", nowArguments]] });
  });

  test.skipIf(hasOneCall)("reads two calls", () => {
    const text = isHarmony ? `${one}<|call|><|start|>assistant${written(name, [now])}` : written(name, [sea, now]);
    const calls = [
      ["sea", seaArguments],
      ["now", nowArguments],
    ];
    expect(read(options, [text])).toEqual({ text: "", reasoning: "", calls });
    expect(read(options, [...text])).toEqual({ text: "", reasoning: "", calls });
  });

  test("ends after the first call if at most one is allowed", () => {
    const parser = new AnswerReader({ ...options, maxCalls: 1 });
    const text = isHarmony ? `${one}<|call|><|start|>assistant${one}` : written(name, [sea, sea]);
    const part = parser.push(text);
    expect(part.calls.map((call) => call.arguments)).toEqual([seaArguments]);
    expect({ ended: parser.ended, count: parser.count }).toEqual({ ended: true, count: 1 });
    expect([parser.push(one), parser.flush()].flatMap(({ text, calls }) => [text, ...calls])).toEqual(["", ""]);
  });

  if (!isBare)
    test("reads text before a call", () => {
      const text = isHarmony
        ? `<|channel|>commentary<|message|>Let me see.<|end|><|start|>assistant${one}`
        : `Let me see.\n\n${one}`;
      expect(read(options, [text])).toEqual({ text: "Let me see.", reasoning: "", calls: [["sea", seaArguments]] });
    });

  test("leaves a malformed call as text", () => {
    for (const open of opensOf(name))
      for (const rest of [
        "",
        " ",
        "{",
        "[",
        "{name: f}",
        '{"name": 3}',
        "null",
        "\n\n",
        '{"name',
        "<>",
        '{"name": "f"',
      ]) {
        // After a complete harmony header, any text is the arguments of a call. So this header lacks its last character.
        const text = isHarmony ? `${open.slice(0, -1)}${rest}` : `a ${open}${rest}`;
        expect(read(options, [text])).toEqual(only(text));
        expect(read(options, [...text])).toEqual(only(text));
      }
  });

  test("reads a truncated call as text, or as a prefix of its arguments", () => {
    let longest = "";
    for (let length = 0; length < one.length; length++) {
      const cut = one.slice(0, length);
      if (!cut.isWellFormed()) continue;
      const { text, calls } = read(options, [...cut]);
      expect(read(options, [cut])).toEqual({ text, reasoning: "", calls });
      if (calls.length === 0) expect(text).toBe(cut);
      else {
        expect(calls[0]![0]).toBe("sea");
        const args = calls[0]![1];
        expect(args).toBe(seaArguments.slice(0, args.length));
        expect(args.length).toBeGreaterThanOrEqual(longest.length);
        longest = args;
        // Text that remains may only be the beginning of another argument.
        const isLeft = text === "" || (cut.trimEnd().endsWith(text) && /^\s*<(?:parameter=|arg_key>)./.test(text));
        expect({ cut, text, isLeft }).toEqual({ cut, text, isLeft: true });
      }
    }
    // The last cut lacks at most the end of the last argument.
    expect(longest).toContain(',"depth":12,"tags":');
  });

  test("does not depend on how the answer is cut into pieces", () => {
    const marks = [...opensOf(name), ...one.split(/(?<=[>\]}",])|(?=[<[{"])/), one, written(name, [sea, now])];
    const junk = ["{", "}", '"', ":", ",", "[", "]", "\\", "\n", " ", "<", "</", "a", "😀", "null", "-1.5e3", "sea"];
    const part = fc.oneof(fc.constantFrom(...marks), fc.constantFrom(...junk));
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.array(fc.nat(300), { maxLength: 8 }), (parts, cuts) => {
        const text = parts.join("");
        const whole = read(options, [text]);
        expect(read(options, pieces(text, cuts))).toEqual(whole);
        expect(read(options, text.split(""))).toEqual(whole);
        if (whole.calls.length === 0 && !isHarmony) expect(whole.text).toBe(text);
      }),
      { numRuns: 300 },
    );
  });

  test("takes linear time and bounded memory for hostile answers", () => {
    const [open = "sea\n"] = opensOf(name);
    const size = 1 << 16;
    const heads = [
      open,
      `${open}{"name":"`,
      `${open}{"name":"sea","arguments":{"a":"`,
      `${open}{"a":[`,
      `${open}sea`,
      " ",
      "{",
    ];
    for (const head of heads)
      for (const body of ["x", " ", "[", "\\", '"', "{", "<", open, `${open}{"`]) {
        const text = head + body.repeat(size / body.length);
        const spent = cpuMilliseconds(() => {
          const { text: left, calls } = read(options, [text]);
          // Without a call, the text is the whole answer.
          if (calls.length === 0 && !isHarmony) expect(left.length).toBe(text.length);
        });
        expect(spent, JSON.stringify(head + body)).toBeLessThan(1000);
      }
    // The reader passes on the text of an endless call instead of holding all of it.
    const parser = new AnswerReader(options);
    let given = 0;
    for (let i = 0; i < 300; i++) {
      const part = parser.push(i === 0 ? open : "x".repeat(1000));
      given += part.text.length + part.calls.reduce((sum, call) => sum + call.arguments.length, 0);
    }
    expect(given).toBeGreaterThan(1 << 17);
  });

  test("is not chosen for a template without its marks", () => {
    expect(callFormatOf(name).isIn("{{ messages }}{{ tools }}")).toBe(false);
  });
});
