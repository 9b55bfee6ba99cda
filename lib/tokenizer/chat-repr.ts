// What Python makes texts of: str and repr of what a template has, and the filters that begin with them.

/** A value of the template's interpreter. */
export interface RuntimeValue {
  type: string;
  value: unknown;
  /** Whether it counts as true. */
  __bool__(): { value: boolean };
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
    case "UndefinedValue":
      return "Undefined";
    case "NamespaceValue":
      return `<Namespace ${objectRepr(inner as Map<string, RuntimeValue>)}>`;
    case "ObjectValue":
      return objectRepr(inner as Map<string, RuntimeValue>);
    default:
      return String(value); // numbers, as the interpreter writes them
  }
}

function objectRepr(entries: ReadonlyMap<string, RuntimeValue>): string {
  return `{${[...entries].map(([key, entry]) => `${quoted(key)}: ${pythonRepr(entry)}`).join(", ")}}`;
}

/** Python's str, which is what a template prints, and what filters of texts begin with. */
export function pythonText(value: RuntimeValue): string {
  if (value.type === "StringValue") return value.value as string;
  return value.type === "UndefinedValue" ? "" : pythonRepr(value);
}

/** A word's beginning and its rest. */
const cased = (word: string) => {
  const [first = "", ...rest] = word;
  return first.toUpperCase() + rest.join("").toLowerCase();
};

/** Jinja2's filters that make a text of a text, whatever they are given. */
export const textFilters: ReadonlyMap<string, (text: string) => string> = new Map([
  ["string", (text) => text],
  ["trim", (text) => text.trim()],
  ["upper", (text) => text.toUpperCase()],
  ["lower", (text) => text.toLowerCase()],
  ["capitalize", cased],
  [
    "title",
    (text) =>
      text
        .split(/([-\s({[<]+)/u)
        .map(cased)
        .join(""),
  ],
]);

/** Python's str.strip, lstrip and rstrip. */
export function stripped(text: string, which: string, characters: string): string {
  const known = new Set(characters);
  const units = [...text];
  let [from, to] = [0, units.length];
  if (which !== "rstrip") while (from < to && known.has(units[from]!)) from++;
  if (which !== "lstrip") while (to > from && known.has(units[to - 1]!)) to--;
  return units.slice(from, to).join("");
}
