import { describe, expect, test } from "vitest";
import { MessageAssembler } from "../../../lib/cli/chat/message-assembler.ts";

/** Returns the messages assembled from the lines, and the unfinished message at the end of the input. */
function assembled(...lines: string[]) {
  const assembler = new MessageAssembler();
  const texts = lines.flatMap((line) => assembler.add(line)?.text ?? []);
  return [texts, assembler.flush()?.text];
}

describe("messages of several lines", () => {
  test("a line without quotes at its start is a message, even if it is empty", () => {
    expect(assembled("one", "", " two ", 'say """ twice')).toEqual([["one", "", " two ", 'say """ twice'], undefined]);
  });

  test("a backslash at the end continues the message, and two do not", () => {
    expect(assembled("a\\", "b\\", "c", "d")).toEqual([["a\nb\nc", "d"], undefined]);
    expect(assembled("C:\\\\", "x")).toEqual([["C:\\\\", "x"], undefined]);
    expect(assembled("a\\", "")).toEqual([["a\n"], undefined]);
    expect(assembled("a\\")).toEqual([[], "a"]);
  });

  test("quotes begin and end a message, on separate lines or not", () => {
    expect(assembled('"""', "a", "", " b\\", '"""', "c")).toEqual([["a\n\n b\\", "c"], undefined]);
    expect(assembled('"""a', 'b"""')).toEqual([["a\nb"], undefined]);
    expect(assembled('"""a"""', "x")).toEqual([["a", "x"], undefined]);
    expect(assembled('"""', '"""')).toEqual([[""], undefined]);
    expect(assembled('"""', "a")).toEqual([[], "a"]);
  });

  test("pasted lines and the line typed after them are one message", () => {
    const assembler = new MessageAssembler();
    expect(assembler.add("def f():\\", { isPasted: true })).toBeUndefined();
    expect(assembler.add("", { isPasted: true })).toBeUndefined();
    expect(assembler.isOpen).toBe(true);
    expect(assembler.add("  pass")).toEqual({ text: "def f():\\\n\n  pass", isLine: false });
    expect(assembler.isOpen).toBe(false);
  });

  test("only a single typed line can be a command, and a reset discards an unfinished message", () => {
    const assembler = new MessageAssembler();
    expect(assembler.add("/help")).toEqual({ text: "/help", isLine: true });
    expect(assembler.add('"""/help"""')).toEqual({ text: "/help", isLine: false });
    assembler.add("/system a\\");
    expect(assembler.add("b")).toEqual({ text: "/system a\nb", isLine: false });
    assembler.add('"""');
    assembler.reset();
    expect(assembler.add("x")).toEqual({ text: "x", isLine: true });
  });
});
