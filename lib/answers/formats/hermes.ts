import { callList } from "../call-json.ts";
import { pythonCall } from "../call-python.ts";
import type { CallFormat } from "../format.ts";

const [OPEN, CLOSE] = ["<tool_call>", "</tool_call>"];

/** Hermes, Qwen 2.5 and 3, EXAONE 4, ERNIE 4.5, Granite 4: `<tool_call>{"name": …, "arguments": …}</tool_call>`. */
export const hermes: CallFormat = {
  isIn: (template) => template.includes(OPEN),
  opens: [OPEN],
  *read(source) {
    yield* source.space();
    const isWellFormed = yield* callList(source, { name: "name", arguments: ["arguments", "parameters"] }, CLOSE);
    if (!isWellFormed) return;
    yield* source.space();
    yield* source.expect(CLOSE);
  },
  shape: {
    begin: "",
    call: [`${OPEN}\n{"name": "`, { name: "json" }, '", "arguments": ', { arguments: "json" }, `}\n${CLOSE}`],
    between: "\n",
    end: "",
  },
};

const [CODE, CODE_END] = ["<code>", "</code>"];

/**
 * SmolLM 3: the format of Hermes. If the template describes the tools as Python functions, calls are `<code>name(key=value, …)</code>`,
 * with one call per line.
 */
export const smollm: CallFormat = {
  isIn: (template) => template.includes(OPEN) && template.includes(CODE),
  opens: [OPEN, CODE],
  *read(source, open) {
    if (open === OPEN) {
      yield* hermes.read(source, open);
      return;
    }
    yield* source.space();
    do {
      const isWellFormed = yield* pythonCall(source, { close: CODE_END });
      yield* source.endCall();
      if (!isWellFormed) return;
      yield* source.space();
    } while (!(yield* source.skip(CODE_END)) && (yield* source.more()));
  },
  shape: hermes.shape,
};
