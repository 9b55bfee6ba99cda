import { MAX_NAME } from "../call-json.ts";
import { Parameters } from "../call-parameters.ts";
import type { CallFormat } from "../format.ts";

const [OPEN, CLOSE] = ["<tool_call>", "</tool_call>"];
const [KEY, KEY_END, VALUE, VALUE_END] = ["<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"];

/** GLM 4.5 and later: `<tool_call>name`, then `<arg_key>key</arg_key>` and `<arg_value>value</arg_value>` of each argument. */
export const glm: CallFormat = {
  isIn: (template) => template.includes(KEY),
  opens: [OPEN],
  *read(source) {
    const name = (yield* source.word([KEY, CLOSE, "\n{", "{"], MAX_NAME)).trim();
    if (name === "" || /\s/.test(name) || (yield* source.peek()) !== "<") source.fail();
    source.beginCall(name);
    const parameters = new Parameters(source, name, false);
    source.hold();
    while (yield* source.skip(KEY)) {
      const key = yield* source.word([KEY_END], MAX_NAME);
      yield* source.expect(KEY_END);
      yield* source.space();
      yield* source.expect(VALUE);
      yield* parameters.value(key, VALUE_END);
      yield* source.space();
    }
    yield* source.expect(CLOSE);
    parameters.end();
    yield* source.endCall();
  },
  shape: {
    begin: "",
    call: [
      OPEN,
      { name: "plain" },
      "\n",
      { arguments: { before: KEY, between: `${KEY_END}\n${VALUE}`, after: `${VALUE_END}\n`, close: VALUE_END } },
      CLOSE,
    ],
    between: "\n",
    end: "",
  },
};
