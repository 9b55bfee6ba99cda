import { callList } from "../call-json.ts";
import type { CallFormat } from "../format.ts";

const [OPEN, OTHER, OTHER_END] = ["<|tool_call|>", "<tool_call>", "</tool_call>"];

/** Granite 3: `<|tool_call|>[{"name": …, "arguments": …}, …]`. Some models write `<tool_call>` instead. */
export const granite: CallFormat = {
  isIn: (template) => template.includes(OPEN) && !template.includes("<|/tool_call|>"),
  opens: [OPEN, OTHER],
  *read(source, open) {
    yield* source.space();
    const isWellFormed = yield* callList(source, { name: "name", arguments: ["arguments"] });
    if (!isWellFormed || open === OPEN) return;
    yield* source.space();
    yield* source.expect(OTHER_END);
  },
  shape: {
    begin: `${OPEN}[`,
    call: ['{"name": "', { name: "json" }, '", "arguments": ', { arguments: "json" }, "}"],
    between: ", ",
    end: "]",
  },
};
