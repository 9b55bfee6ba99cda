import { callList } from "../call-json.ts";
import type { CallFormat } from "../format.ts";

const [OPEN, CLOSE] = ["<tool_calls>", "</tool_calls>"];

/** Hunyuan: `<tool_calls>[{"name": …, "arguments": …}, …]</tool_calls>`. */
export const hunyuan: CallFormat = {
  isIn: (template) => template.includes(OPEN),
  opens: [OPEN],
  *read(source) {
    yield* source.space();
    const isWellFormed = yield* callList(source, { name: "name", arguments: ["arguments"] }, CLOSE);
    if (!isWellFormed) return;
    yield* source.space();
    yield* source.expect(CLOSE);
  },
  shape: {
    begin: `${OPEN}[`,
    call: ['{"name": "', { name: "json" }, '", "arguments": ', { arguments: "json" }, "}"],
    between: ", ",
    end: `]${CLOSE}`,
  },
};
