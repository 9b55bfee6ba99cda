import { jsonArguments, MAX_NAME } from "../call-json.ts";
import type { WholeFormat } from "../format.ts";
import { Malformed, type Reading, type Source } from "../source.ts";

const [START, CHANNEL, CONSTRAIN] = ["<|start|>", "<|channel|>", "<|constrain|>"];
const [MESSAGE, END, CALL, RETURN] = ["<|message|>", "<|end|>", "<|call|>", "<|return|>"];
const FINAL = `${CHANNEL}final${MESSAGE}`;
const ENDS = [END, CALL, RETURN];
const RECIPIENT = /\bto=functions\.([^\s<]+)/;

/** Whether a message with this header is reasoning. The `analysis` channel may also have calls, which are not reasoning. */
const isReasoning = (text: string) => !RECIPIENT.test(text) && text.includes(`${CHANNEL}analysis`);

/** Reads the header of a message, up to its content. @throws Malformed if it does not end with `<|message|>` */
function* header(source: Source): Reading<string> {
  let text = "";
  for (;;) {
    text += yield* source.word([MESSAGE, CHANNEL, CONSTRAIN, START, ...ENDS], MAX_NAME);
    if (yield* source.skip(MESSAGE)) return text;
    if (!(yield* source.isNext(CHANNEL)) && !(yield* source.isNext(CONSTRAIN))) source.fail();
    text += source.take(((yield* source.isNext(CHANNEL)) ? CHANNEL : CONSTRAIN).length);
  }
}

/** Reads the messages of an answer. The prompt has already begun the first one with `<|start|>assistant`. */
function* messages(source: Source, withCalls: boolean): Reading {
  do {
    source.hold();
    const text = yield* header(source);
    const name = RECIPIENT.exec(text)?.[1];
    if (name !== undefined && withCalls) {
      source.beginCall(name);
      const isWellFormed = yield* jsonArguments(source, CALL);
      yield* source.endCall();
      source.drop();
      if (isWellFormed) yield* source.until(ENDS, (rest) => source.text(rest));
    } else {
      source.drop();
      const isThought = isReasoning(text);
      yield* source.until(ENDS, (part) => (isThought ? source.reasoning(part) : source.text(part)));
    }
    if (!(yield* source.more())) return;
    source.hold();
  } while (yield* source.skip(START));
  source.fail();
}

/**
 * gpt-oss (harmony): each message names a channel. `analysis` has reasoning, `commentary` has tool calls and their preambles, and `final` has
 * the answer. A call is a message to a function.
 */
export const harmony: WholeFormat = {
  isIn: (template) => template.includes(CHANNEL) && template.includes(MESSAGE),
  marks: [START, CHANNEL, CONSTRAIN, MESSAGE, END, CALL, RETURN],
  *readAnswer(source, withCalls) {
    try {
      yield* messages(source, withCalls);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      source.release();
      yield* source.until([], (text) => source.text(text));
    }
  },
  reasoning: {
    content: MESSAGE,
    ends: ENDS,
    isIn: isReasoning,
    closing: `${END}${START}assistant`,
    closingToText: `${END}${START}assistant${FINAL}`,
  },
  textBegin: FINAL,
  shape: {
    begin: "",
    call: [
      `${CHANNEL}commentary to=functions.`,
      { name: "plain" },
      ` ${CONSTRAIN}json${MESSAGE}`,
      { arguments: "json" },
    ],
    // An answer has a single call: `<|call|>` after it ends the answer.
    between: undefined,
    end: "",
  },
};
