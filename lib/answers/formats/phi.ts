import { callList } from "../call-json.ts";
import type { CallFormat } from "../format.ts";
import type { Reading, Source } from "../source.ts";

const [OPEN, CLOSE, PLAIN] = ["<|tool_call|>", "<|/tool_call|>", "functools"];

function* read(source: Source, open: string): Reading {
  yield* source.space();
  const close = open === OPEN ? CLOSE : undefined;
  const isWellFormed = yield* callList(source, { name: "name", arguments: ["arguments", "parameters"] }, close);
  if (!isWellFormed || close === undefined) return;
  yield* source.space();
  yield* source.expect(close);
}

const call = ['{"name": "', { name: "json" }, '", "arguments": ', { arguments: "json" }, "}"] as const;

/** Phi-4-mini: `<|tool_call|>[{"name": …, "arguments": …}, …]<|/tool_call|>`. */
export const phi: CallFormat = {
  isIn: (template) => template.includes(CLOSE),
  opens: [OPEN, PLAIN],
  read,
  shape: { begin: `${OPEN}[`, call, between: ", ", end: `]${CLOSE}` },
};

/** Phi-4-mini without marks: `functools[{"name": …, "arguments": …}, …]`. */
export const phiFunctools: CallFormat = {
  isIn: (template) => template.includes(`${PLAIN}[`),
  opens: [PLAIN, OPEN],
  read,
  shape: { begin: `${PLAIN}[`, call, between: ", ", end: "]" },
};
