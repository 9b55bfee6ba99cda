import { callList, jsonArguments, MAX_NAME } from "../call-json.ts";
import type { CallFormat } from "../format.ts";
import type { Reading, Source } from "../source.ts";

const [OPEN, ID, ARGUMENTS] = ["[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"];

function* read(source: Source): Reading {
  yield* source.space();
  const first = yield* source.peek();
  if (first === "[" || first === "{") {
    yield* callList(source, { name: "name", arguments: ["arguments"] });
    return;
  }
  const name = (yield* source.word([ARGUMENTS, ID, "{", "\n"], MAX_NAME)).trim();
  if (name === "") source.fail();
  if (yield* source.skip(ID)) yield* source.word([ARGUMENTS], MAX_NAME);
  yield* source.skip(ARGUMENTS);
  yield* source.space();
  if ((yield* source.peek()) !== "{") source.fail();
  source.beginCall(name);
  yield* jsonArguments(source);
  yield* source.endCall();
}

const shared = { opens: [OPEN], read, idLength: 9 };

/** Mistral up to Small 3.1: `[TOOL_CALLS] [{"name": …, "arguments": …}, …]`. */
export const mistral: CallFormat = {
  ...shared,
  isIn: (template) => template.includes(OPEN) && !template.includes(ARGUMENTS),
  shape: {
    begin: `${OPEN} [`,
    call: ['{"name": "', { name: "json" }, '", "arguments": ', { arguments: "json" }, "}"],
    between: ", ",
    end: "]",
  },
};

/** Mistral since Small 3.2, Devstral, Magistral and Ministral 3: `[TOOL_CALLS]name[ARGS]{…}` for each call. */
export const mistralArguments: CallFormat = {
  ...shared,
  isIn: (template) => template.includes(OPEN) && template.includes(ARGUMENTS),
  shape: { begin: "", call: [OPEN, { name: "plain" }, ARGUMENTS, { arguments: "json" }], between: "", end: "" },
};
