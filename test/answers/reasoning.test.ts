// Reasoning is split from the answer.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chooseReasoningFormat } from "../../lib/answers/call-formats.ts";
import { harmony } from "../../lib/answers/formats/harmony.ts";
import { hermes } from "../../lib/answers/formats/hermes.ts";
import type { ReaderOptions } from "../../lib/answers/reader.ts";
import { REASONING_FORMATS } from "../../lib/answers/reasoning.ts";
import { MAX_HELD } from "../../lib/answers/source.ts";
import { pieces, read, written } from "./helpers.ts";

const call = written("hermes", [["now", {}]]);

describe.each(Object.entries(REASONING_FORMATS))("%s", (_, reasoning) => {
  const { open, close } = reasoning;
  const options: ReaderOptions = { reasoning, calls: hermes };
  const begun: ReaderOptions = { ...options, promptEnd: "within" };
  const expected = { text: "So be it.", reasoning: "I see <tool_call>.\n\nWell", calls: [] };
  const thought = `\n${expected.reasoning}\n`;

  test("splits reasoning from the answer", () => {
    expect(read(options, [`${open}${thought}${close}\n\n${expected.text}`])).toEqual(expected);
    expect(read(begun, [`${thought}${close}\n\n${expected.text}`])).toEqual(expected);
    expect(read(begun, [`\n${open}${thought}${close}${expected.text}`])).toEqual(expected);
  });

  test("reads calls after the reasoning", () => {
    const answer = read(options, [`${open}Hm${close}\n\nLet me see.\n${call}`]);
    expect(answer).toEqual({ text: "Let me see.", reasoning: "Hm", calls: [["now", "{}"]] });
  });

  test("handles reasoning without an answer, and an answer without reasoning", () => {
    expect(read(options, [`${open}Hm`])).toEqual({ text: "", reasoning: "Hm", calls: [] });
    expect(read(begun, ["Hm "])).toEqual({ text: "", reasoning: "Hm", calls: [] });
    expect(read(options, [`${open}\n\n${close}\n\n`])).toEqual({ text: "", reasoning: "", calls: [] });
    for (const text of [" Hi.\n", "", ` a ${open}b${close}`, open.slice(0, -1), `\n${open.slice(0, 3)}`])
      expect(read(options, [text])).toEqual({ text, reasoning: "", calls: [] });
    const after = { ...options, promptEnd: "after" } as const;
    expect(read(after, [`${open}b`])).toEqual({ text: `${open}b`, reasoning: "", calls: [] });
  });

  test("does not depend on how the answer is cut into pieces", () => {
    const wraps = reasoning.answer ? [...reasoning.answer.opens, ...reasoning.answer.closes] : [];
    const part = fc.constantFrom(open, close, ...wraps, call, "a", " ", "\n", "<", "</", "H", "e");
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 8 }),
        fc.array(fc.nat(100), { maxLength: 6 }),
        fc.constantFrom("before", "within", "after"),
        (parts, cuts, promptEnd) => {
          const text = parts.join("");
          const whole = read({ ...options, promptEnd }, [text]);
          expect(read({ ...options, promptEnd }, pieces(text, cuts))).toEqual(whole);
          expect(read({ ...options, promptEnd }, [...text])).toEqual(whole);
        },
      ),
      { numRuns: 200 },
    );
  });
});

test("marks around the answer are dropped", () => {
  const { command, thinkAnswer } = REASONING_FORMATS;
  const wrapped = "<|START_THINKING|>Hm<|END_THINKING|><|START_RESPONSE|>Hi.<|END_RESPONSE|>";
  expect(read({ reasoning: command }, [...wrapped])).toEqual({ text: "Hi.", reasoning: "Hm", calls: [] });
  const plain = "<|START_RESPONSE|>Hi.<|END_RESPONSE|>";
  expect(read({ reasoning: command }, [plain])).toEqual({ text: "Hi.", reasoning: "", calls: [] });
  const hunyuan = "<think>\nHm\n</think>\n<answer>\nHi.\n</answer>";
  expect(read({ reasoning: thinkAnswer }, [hunyuan])).toEqual({ text: "Hi.", reasoning: "Hm", calls: [] });
});

test("an opening mark stays text if it and the white space before it exceed what the reader holds back", () => {
  const { thinkAnswer } = REASONING_FORMATS;
  for (const room of [0, 3]) {
    const text = `${" ".repeat(MAX_HELD - room)}<answer>Hi.`;
    expect(read({ reasoning: thinkAnswer }, [text])).toEqual({ text, reasoning: "", calls: [] });
  }
});

test("harmony's channels become reasoning, calls and text", () => {
  const final = "<|channel|>final<|message|>Hi.";
  const analysis = "<|channel|>analysis<|message|>Hm";
  const next = "<|end|><|start|>assistant";
  expect(read({ whole: harmony }, [analysis + next + final])).toEqual({ text: "Hi.", reasoning: "Hm", calls: [] });
  expect(read({ whole: harmony }, [final])).toEqual({ text: "Hi.", reasoning: "", calls: [] });
  expect(read({ whole: harmony }, [analysis])).toEqual({ text: "", reasoning: "Hm", calls: [] });
  const header = " to=functions.now<|channel|>commentary json<|message|>{}<|call|>";
  expect(read({ whole: harmony }, [...(analysis + next + header)])).toEqual({
    text: "",
    reasoning: "Hm",
    calls: [["now", "{}"]],
  });
  // Without tools a call is text.
  const told = { text: "{}", reasoning: "Hm", calls: [] };
  expect(read({ whole: harmony, withCalls: false }, [analysis + next + header])).toEqual(told);
});

test("the format of reasoning follows from the template", () => {
  const { command, mistral, seed, granite, thinkResponse, thinkAnswer, think } = REASONING_FORMATS;
  const cases = [
    ["{{ '<think>' }}", think],
    ["{{ content.split('</think>') }}", think],
    ["<think></think><answer>", thinkAnswer],
    ["<think></think><response>", thinkResponse],
    ["[THINK]", mistral],
    ["<seed:think>", seed],
    ["<|START_THINKING|>", command],
    ["Here is my thought process: Here is my response:", granite],
    ["{{ messages }}", undefined],
  ] as const;
  for (const [template, format] of cases) expect(chooseReasoningFormat(template), template).toBe(format);
});
