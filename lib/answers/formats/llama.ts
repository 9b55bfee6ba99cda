import { callObject } from "../call-json.ts";
import { pythonCall } from "../call-python.ts";
import type { CallFormat } from "../format.ts";

const TAG = "<|python_tag|>";

/**
 * Llama 3.1 to 3.3: `{"name": …, "parameters": …}` as the whole answer, or after `<|python_tag|>`. Other JSON is text, and so are calls of
 * unknown tools. Built-in tools are called as `<|python_tag|>name.call(key="value")`. Other code after the mark is text.
 */
export const llama: CallFormat = {
  // Meta's template tells the model to answer {"name": function name, "parameters": dictionary of argument name and its value}.
  isIn: (template) =>
    template.includes('"parameters": dictionary') || (template.includes(TAG) && template.includes('"parameters"')),
  opens: [TAG],
  isBare: true,
  *read(source, open) {
    const isTagged = open === TAG || (yield* source.skip(TAG));
    yield* source.space();
    if (isTagged && (yield* source.peek()) !== "{") {
      yield* pythonCall(source, { ending: ".call" });
      yield* source.endCall();
      return;
    }
    do {
      yield* source.space();
      const keys = { name: "name", arguments: ["parameters", "arguments"], isStrict: true };
      const isWellFormed = yield* callObject(source, keys);
      yield* source.endCall();
      if (!isWellFormed) return;
      yield* source.space();
    } while ((yield* source.skip(";")) || (yield* source.peek()) === "{");
  },
  shape: {
    begin: "",
    call: ['{"name": "', { name: "json" }, '", "parameters": ', { arguments: "json" }, "}"],
    between: "; ",
    end: "",
  },
};
