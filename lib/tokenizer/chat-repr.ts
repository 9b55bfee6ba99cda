// Python's repr of what a template has: the texts of arrays and objects, which some templates show as they are.

/** A value of the template's interpreter. */
export interface RuntimeValue {
  type: string;
  value: unknown;
}

/** What Python does not print as it is; marks of the guard, which are for private use, stay. */
const UNPRINTED = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;
const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escapeOf(character: string): string {
  const code = character.codePointAt(0)!;
  const hex = (digits: number) => code.toString(16).padStart(digits, "0");
  return SHORT[character] ?? (code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`);
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inner = text.replaceAll("\\", "\\\\").replace(UNPRINTED, escapeOf);
  return quote + (quote === "'" ? inner.replaceAll("'", "\\'") : inner) + quote;
}

/** `{'name': 'f', 'strict': True, 'rest': [1, None]}` */
export function pythonRepr(value: RuntimeValue): string {
  const { type, value: inner } = value;
  const items = () => (inner as RuntimeValue[]).map(pythonRepr);
  switch (type) {
    case "StringValue":
      return quoted(inner as string);
    case "BooleanValue":
      return inner ? "True" : "False";
    case "NullValue":
      return "None";
    case "ArrayValue":
      return `[${items().join(", ")}]`;
    case "TupleValue":
      return `(${items().join(", ")}${(inner as unknown[]).length === 1 ? "," : ""})`;
    case "ObjectValue": {
      const entries = [...(inner as Map<string, RuntimeValue>)];
      return `{${entries.map(([key, entry]) => `${quoted(key)}: ${pythonRepr(entry)}`).join(", ")}}`;
    }
    default:
      return String(value); // numbers, as the interpreter writes them
  }
}
