import { jsonArguments, MAX_NAME } from "../call-json.ts";
import type { CallFormat } from "../format.ts";
import type { Reading, Source } from "../source.ts";

/** Reads the name of a tool and the line break after it. Fails as soon as no tool's name begins with the text. @throws Malformed */
function* toolLine(source: Source): Reading<string> {
  const names = [...source.tools.keys()];
  let name = "";
  while (!(yield* source.skip("\n"))) {
    const next = yield* source.peek();
    if (next === "" || name.length === MAX_NAME || !/[\w.:/-]/.test(next)) source.fail();
    name += source.take(1);
    if (names.length > 0 && !names.some((one) => one.startsWith(name))) source.fail();
  }
  if (name === "" || (names.length > 0 && !names.includes(name))) source.fail();
  return name;
}

/** GLM-4-9B and GLM-4-0414: the whole answer is the tool's name on one line and its arguments on the next. */
export const glmPlain: CallFormat = {
  isIn: (template) => template.includes("<|observation|>") && !template.includes("<tool_call>"),
  opens: [],
  isBare: true,
  *read(source) {
    const name = yield* toolLine(source);
    yield* source.space();
    if ((yield* source.peek()) !== "{") source.fail();
    source.beginCall(name);
    yield* jsonArguments(source);
    yield* source.endCall();
  },
  shape: {
    begin: "",
    call: [{ name: "plain" }, "\n", { arguments: "json" }],
    // An answer has a single call: the model ends its turn with `<|observation|>` after it.
    between: undefined,
    end: "",
  },
};
