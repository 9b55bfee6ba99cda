import { jsonArguments, MAX_NAME } from "../call-json.ts";
import type { CallFormat } from "../format.ts";
import type { Reading, Source } from "../source.ts";

const [ALL, ALL_END] = ["<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"];
const [OPEN, SEPARATOR, CLOSE] = ["<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"];
const [BLOCK, BLOCK_END] = ["\n```json\n", "\n```"];

function* read(source: Source): Reading {
  do {
    yield* source.space();
    yield* source.expect(OPEN);
    let name = yield* source.word([SEPARATOR], MAX_NAME);
    yield* source.expect(SEPARATOR);
    // The older form has the type of the call before its name, and the arguments as a code block.
    const isBlock = (yield* source.peek()) !== "{";
    if (isBlock) {
      name = yield* source.word(["\n"], MAX_NAME);
      yield* source.expect(BLOCK);
    }
    if (name === "" || (yield* source.peek()) !== "{") source.fail();
    source.beginCall(name);
    const isWellFormed = yield* jsonArguments(source, CLOSE);
    yield* source.endCall();
    if (isWellFormed) {
      yield* source.space();
      if (isBlock && (yield* source.skip("```"))) yield* source.space();
      yield* source.expect(CLOSE);
    }
    source.drop(true);
    yield* source.space();
  } while (!(yield* source.skip(ALL_END)) && (yield* source.more()));
}

const shared = { opens: [ALL], read };

/** DeepSeek V3 and R1: the arguments are a JSON code block. */
export const deepseekBlocks: CallFormat = {
  ...shared,
  isIn: (template) => template.includes(ALL) && template.includes("```json"),
  shape: {
    begin: ALL,
    call: [`${OPEN}function${SEPARATOR}`, { name: "plain" }, BLOCK, { arguments: "json" }, BLOCK_END + CLOSE],
    between: "\n",
    end: ALL_END,
  },
};

/** DeepSeek V3.1: name and arguments between marks. */
export const deepseek: CallFormat = {
  ...shared,
  isIn: (template) => template.includes(ALL) && !template.includes("```json"),
  shape: {
    begin: ALL,
    call: [OPEN, { name: "plain" }, SEPARATOR, { arguments: "json" }, CLOSE],
    between: "",
    end: ALL_END,
  },
};
