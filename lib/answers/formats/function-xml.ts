import { MAX_NAME } from "../call-json.ts";
import { Parameters } from "../call-parameters.ts";
import type { CallFormat } from "../format.ts";

const [FUNCTION, FUNCTION_END, PARAMETER, PARAMETER_END] = ["<function=", "</function>", "<parameter=", "</parameter>"];

/**
 * Makes a format with `<function=name>` and a `<parameter=key>` for each argument.
 * @param isFramed whether there is a line break before and after each value
 */
function functionXml(open: string, close: string, isFramed: boolean): CallFormat {
  const line = isFramed ? "\n" : "";
  return {
    isIn: (template) => template.includes(open) && template.includes(FUNCTION) && template.includes(PARAMETER),
    // Models of the family sometimes leave out the outer mark.
    opens: [open, FUNCTION],
    *read(source, begun) {
      if (begun === open) {
        yield* source.space();
        yield* source.expect(FUNCTION);
      }
      do {
        const name = yield* source.word([">", "\n", "<"], MAX_NAME);
        if (name === "") source.fail();
        yield* source.expect(">");
        yield* source.space();
        if (!(yield* source.isNext(PARAMETER)) && !(yield* source.isNext(FUNCTION_END))) source.fail();
        source.beginCall(name);
        const parameters = new Parameters(source, name, isFramed);
        source.hold();
        while (yield* source.skip(PARAMETER)) {
          const key = yield* source.word([">"], MAX_NAME);
          yield* source.expect(">");
          yield* parameters.value(key, PARAMETER_END);
          yield* source.space();
        }
        yield* source.expect(FUNCTION_END);
        parameters.end();
        yield* source.endCall();
        yield* source.space();
      } while (yield* source.skip(FUNCTION));
      if (begun === open) yield* source.expect(close);
    },
    shape: {
      begin: "",
      call: [
        `${open}\n${FUNCTION}`,
        { name: "plain" },
        ">\n",
        {
          arguments: {
            before: PARAMETER,
            between: `>${line}`,
            after: `${line}${PARAMETER_END}\n`,
            close: PARAMETER_END,
          },
        },
        `${FUNCTION_END}\n${close}`,
      ],
      between: "\n",
      end: "",
    },
  };
}

/** Qwen3-Coder: `<tool_call>` around the function, and each value on its own line. */
export const qwenXml: CallFormat = functionXml("<tool_call>", "</tool_call>", true);

/** Seed-OSS: `<seed:tool_call>` around the function. */
export const seedXml: CallFormat = functionXml("<seed:tool_call>", "</seed:tool_call>", false);
