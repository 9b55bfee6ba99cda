import { callList } from "../call-json.ts";
import type { CallFormat } from "../format.ts";

const [OPEN, CLOSE] = ["<|START_ACTION|>", "<|END_ACTION|>"];
const KEYS = { name: "tool_name", arguments: ["parameters"] };
const call = ['{"tool_name": "', { name: "json" }, '", "parameters": ', { arguments: "json" }, "}"] as const;

/** Command R7B and Command A: `<|START_ACTION|>[{"tool_name": …, "parameters": …}, …]<|END_ACTION|>`. */
export const commandR: CallFormat = {
  isIn: (template) => template.includes(OPEN),
  opens: [OPEN],
  *read(source) {
    yield* source.space();
    const isWellFormed = yield* callList(source, KEYS, CLOSE);
    if (!isWellFormed) return;
    yield* source.space();
    yield* source.expect(CLOSE);
  },
  shape: { begin: `${OPEN}[\n    `, call, between: ",\n    ", end: `\n]${CLOSE}` },
};

const ACTION = "Action: ```json";
/** How the template prints the calls of earlier turns: with a line break, while models write a space. */
const EARLIER_ACTION = "Action:\n```json";

/** Command R and R+ of 2024: the list of calls is in a code block after `Action:`. */
export const commandRAction: CallFormat = {
  isIn: (template) => template.includes("Action:") && template.includes('"tool_name"'),
  opens: [ACTION, EARLIER_ACTION],
  *read(source) {
    yield* source.space();
    const isWellFormed = yield* callList(source, KEYS, "```");
    if (!isWellFormed) return;
    yield* source.space();
    yield* source.expect("```");
  },
  shape: { begin: `${ACTION}\n[\n    `, call, between: ",\n    ", end: "\n]```" },
};
