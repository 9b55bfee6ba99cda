// Jinja2 filters that the interpreter package lacks, or implements without their options. Each stays within the memory limits. The
// watchdog limits the time.
import { isWhole, wholeRange } from "../../../core/is-whole.ts";
import { comparedTexts, jsonOf, separatorsOf } from "../../chat-json.ts";
import type { Arguments, Values } from "./filter-arguments.ts";
import { checkElements, checkTaken, giveBack, LimitError, sizes, spend, spendText } from "./limits.ts";
import { roundedTo } from "./number-format.ts";
import { replaced } from "./printf.ts";
import { pythonRepr, pythonText, type RuntimeValue } from "./repr.ts";

interface Filter {
  /** Names of its arguments, in order. */
  names: readonly string[];
  apply: (value: RuntimeValue, args: Arguments, make: Values) => RuntimeValue;
}

/** Checks the width of padding against the limits, and returns it. */
export function checkedWidth(width: number): number {
  spendText(width);
  giveBack(sizes.unit * width); // the text is counted when it is created
  return width;
}

/** Python's str.center for a text of `length` characters (`length` may differ from the UTF-16 length). */
export function centered(text: string, length: number, width: number, fill = " "): string {
  const missing = Math.max(0, checkedWidth(width) - length);
  // As in CPython, the left side gets one more fill character than the right if `missing` and `width` are odd.
  const left = Math.floor(missing / 2) + (missing & width & 1);
  return fill.repeat(left) + text + fill.repeat(missing - left);
}

/**
 * Compares values as Python does: numbers by value, strings by code points, lists by elements. @throws Error for values of different
 * kinds
 */
export function compared(a: RuntimeValue, b: RuntimeValue): number {
  const [x, y] = [a.value, b.value];
  const order = (p: number, q: number) => (p < q ? -1 : p > q ? 1 : 0);
  if (typeof x !== "string" && typeof y !== "string" && !Array.isArray(x) && isNumber(a) && isNumber(b))
    return order(Number(x), Number(y));
  if (typeof x === "string" && typeof y === "string") return comparedTexts(x, y);
  if (Array.isArray(x) && Array.isArray(y)) {
    for (let i = 0; i < Math.min(x.length, y.length); i++) {
      const first = compared(x[i], y[i]);
      if (first !== 0) return first;
    }
    return order(x.length, y.length);
  }
  throw new Error(`expected values of the same type to compare, got ${a.type} and ${b.type}`);
}

/** Whether values are equal in Python: numbers by value, lists and dicts by their items, and values of different kinds never. */
export function areEqual(a: RuntimeValue, b: RuntimeValue): boolean {
  const [x, y] = [a.value, b.value];
  if (isNumber(a) && isNumber(b)) return Number(x) === Number(y);
  if (Array.isArray(x) && Array.isArray(y)) return x.length === y.length && x.every((item, i) => areEqual(item, y[i]));
  if (x instanceof Map && y instanceof Map)
    return x.size === y.size && [...x].every(([key, item]) => y.has(key) && areEqual(item, y.get(key)));
  return a.type === b.type && x === y;
}

const isNumber = ({ value }: RuntimeValue) => typeof value === "number" || typeof value === "boolean";
const isFloat = ({ type }: RuntimeValue) => type === "FloatValue";

/** Returns a function from items to their sort keys: the attribute, ignoring case unless `case_sensitive`. */
function keyOf(args: Arguments, make: Values): (item: RuntimeValue) => RuntimeValue {
  const path = args.get("attribute");
  const sensitive = args.flag("case_sensitive");
  const otherwise = args.get("default");
  return (item) => {
    let key = path ? make.attribute(item, path) : item;
    if (otherwise && key.type === "UndefinedValue") key = otherwise;
    return !sensitive && typeof key.value === "string" ? make.text(key.value.toLowerCase()) : key;
  };
}

function extreme(sign: number): Filter {
  return {
    names: ["case_sensitive", "attribute"],
    apply(value, args, make) {
      const key = keyOf(args, make);
      let best: { item: RuntimeValue; key: RuntimeValue } | undefined;
      for (const item of make.items(value)) {
        const own = key(item);
        if (!best || compared(own, best.key) * sign > 0) best = { item, key: own };
      }
      return best?.item ?? make.undefined();
    },
  };
}

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;" },
};

const escaped: Filter = {
  names: [],
  apply(value, _, make) {
    const text = pythonText(value);
    checkTaken(text);
    return make.text(text.replace(/[&<>'"]/gu, (character) => ESCAPES[character]!));
  },
};

/** Fills a row up to `length` items. */
function filled(row: RuntimeValue[], length: number, fill: RuntimeValue | undefined): RuntimeValue[] {
  if (fill && row.length < length) {
    checkElements(length);
    while (row.length < length) row.push(fill);
  }
  return row;
}

function wholeFrom1(args: Arguments, name: string): number {
  const value = args.number(name, Number.NaN);
  if (!isWhole(value, 1)) throw new Error(`${name}: expected ${wholeRange(1)}, got ${value}`);
  return value;
}

/** Parses the arguments of `replace(old, new, count)`. */
export function replaceArguments(
  args: readonly (RuntimeValue | undefined)[],
  named: ReadonlyMap<string, RuntimeValue> = new Map(),
) {
  const [from, to] = [args[0] ?? named.get("old"), args[1] ?? named.get("new")];
  const count = args[2] ?? named.get("count");
  if (from === undefined || to === undefined) throw new Error("replace() requires at least two arguments");
  if (typeof from.value !== "string" || typeof to.value !== "string")
    throw new Error("replace() arguments must be strings");
  if (count !== undefined && typeof count.value !== "number" && count.type !== "NullValue")
    throw new Error("replace() count argument must be a number or null");
  const most = typeof count?.value === "number" && count.value >= 0 ? count.value : Number.POSITIVE_INFINITY;
  return { from: from.value, to: to.value, most };
}

/** Maximum number of lines of `indent`. */
const MAX_LINES = 1 << 20;

/** Indents all lines but the first one and empty ones. `first` also indents the first line, even if it is empty; `blank` the empty ones. */
function indented(text: string, width: number, { first, blank }: { first: boolean; blank: boolean }): string {
  let lines = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
  if (lines > MAX_LINES) throw new LimitError(`a text of more than ${MAX_LINES} lines to indent`);
  checkedWidth(text.length + lines * Math.max(0, width));
  const before = " ".repeat(Math.max(0, width));
  return text
    .split("\n")
    .map((line, i) => ((i === 0 ? first : blank || line !== "") ? before + line : line))
    .join("\n");
}

/** Parses the argument `indent` of json.dumps: a number of spaces, or a text. */
function indentOf(given: RuntimeValue | undefined): number | string | null {
  if (given === undefined) return null;
  const { value } = given;
  if (typeof value === "string") return checkedWidth(value.length) > 0 ? value : "";
  if (!isNumber(given)) throw new Error(`indent: expected a number, got ${given.type}`);
  return checkedWidth(Number(value));
}

/** Returns the keys of an object with their values. */
function pairsOf(value: RuntimeValue, make: Values): [key: RuntimeValue, value: RuntimeValue][] {
  if (value.type === "UndefinedValue") return [];
  if (!(value.value instanceof Map)) throw new Error(`expected an object, got ${value.type}`);
  const table: ReadonlyMap<string, RuntimeValue> = value.value;
  return make.items(value).map((key) => [key, table.get(String(key.value))!]);
}

/** The filters by name. */
export const filters: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["items", { names: [], apply: (value, _, make) => make.array(pairsOf(value, make).map(make.tuple)) }],
  [
    "dictsort",
    {
      names: ["case_sensitive", "by", "reverse"],
      apply(value, args, make) {
        const by = args.text("by", "key");
        if (by !== "key" && by !== "value") throw new Error(`dictsort: expected by to be key or value, got ${by}`);
        const key = keyOf(args, make);
        const keyed = pairsOf(value, make).map((pair) => ({ pair, key: key(pair[by === "key" ? 0 : 1]) }));
        const sign = args.flag("reverse") ? -1 : 1;
        keyed.sort((a, b) => sign * compared(a.key, b.key));
        return make.array(keyed.map(({ pair }) => make.tuple(pair)));
      },
    },
  ],
  [
    "sum",
    {
      names: ["attribute", "start"],
      apply(value, args, make) {
        const path = args.get("attribute");
        const items = make.items(value).map((item) => (path ? make.attribute(item, path) : item));
        const start = args.get("start");
        if (start && Array.isArray(start.value)) {
          const all = [...(start.value as RuntimeValue[])];
          for (const item of items) {
            if (!Array.isArray(item.value)) throw new Error(`sum: expected arrays, got ${item.type}`);
            checkElements(all.length + item.value.length);
            for (const one of item.value as RuntimeValue[]) all.push(one);
          }
          return make.array(all);
        }
        const all = start ? [start, ...items] : items;
        const wrong = all.find((item) => !isNumber(item));
        if (wrong) throw new Error(`sum: expected numbers, got ${wrong.type}`);
        const total = all.reduce((sum, item) => sum + Number(item.value), 0);
        return all.some(isFloat) ? make.float(total) : make.integer(total);
      },
    },
  ],
  [
    "groupby",
    {
      names: ["attribute", "default", "case_sensitive"],
      apply(value, args, make) {
        const path = args.get("attribute");
        if (!path) throw new Error("groupby: expected an attribute");
        const key = keyOf(args, make);
        const keyed = make.items(value).map((item) => ({ item, key: key(item) }));
        keyed.sort((a, b) => compared(a.key, b.key));
        const groups: { key: RuntimeValue; items: RuntimeValue[] }[] = [];
        for (const { item, key: own } of keyed) {
          const last = groups.at(-1);
          if (last && compared(last.key, own) === 0) last.items.push(item);
          else groups.push({ key: own, items: [item] });
        }
        const otherwise = args.get("default");
        return make.array(
          groups.map(({ items }) => {
            let grouper = make.attribute(items[0]!, path);
            if (otherwise && grouper.type === "UndefinedValue") grouper = otherwise;
            const list = make.array(items);
            const group = make.tuple([grouper, list]);
            (group as RuntimeValue & { builtins: Map<string, RuntimeValue> }).builtins
              .set("grouper", grouper)
              .set("list", list);
            return group;
          }),
        );
      },
    },
  ],
  ["min", extreme(-1)],
  ["max", extreme(1)],
  [
    "unique",
    {
      names: ["case_sensitive", "attribute"],
      apply(value, args, make) {
        const key = keyOf(args, make);
        const seen = new Set<string>();
        const isNew = (item: RuntimeValue) => {
          const own = key(item);
          const name = typeof own.value === "number" ? String(own.value) : pythonRepr(own); // 1 equals 1.0
          if (seen.has(name)) return false;
          spend(sizes.unit * name.length);
          return seen.add(name);
        };
        return make.array(make.items(value).filter(isNew));
      },
    },
  ],
  [
    "join",
    {
      names: ["d", "attribute"],
      apply(value, args, make) {
        const path = args.get("attribute");
        const separator = args.text("d", "");
        const texts = make.items(value).map((item) => pythonText(path ? make.attribute(item, path) : item));
        checkedWidth(texts.reduce((sum, text) => sum + text.length + separator.length, 0));
        return make.text(texts.join(separator));
      },
    },
  ],
  [
    "batch",
    {
      names: ["linecount", "fill_with"],
      apply(value, args, make) {
        const count = wholeFrom1(args, "linecount");
        const items = make.items(value);
        const rows: RuntimeValue[] = [];
        for (let at = 0; at < items.length; at += count)
          rows.push(make.array(filled(items.slice(at, at + count), count, args.get("fill_with"))));
        return make.array(rows);
      },
    },
  ],
  [
    "slice",
    {
      names: ["slices", "fill_with"],
      apply(value, args, make) {
        const count = wholeFrom1(args, "slices");
        checkElements(count);
        const items = make.items(value);
        const [each, more] = [Math.floor(items.length / count), items.length % count];
        const fill = args.get("fill_with");
        const rows = Array.from({ length: count }, (_, i) => {
          const from = i * each + Math.min(i, more);
          const row = items.slice(from, from + each + (i < more ? 1 : 0));
          return make.array(i >= more ? filled(row, each + 1, fill) : row);
        });
        return make.array(rows);
      },
    },
  ],
  [
    "reverse",
    {
      names: [],
      apply: (value, _, make) =>
        typeof value.value === "string"
          ? make.text(make.characters(value.value).reverse().join(""))
          : make.array([...make.items(value)].reverse()),
    },
  ],
  [
    "wordcount",
    {
      names: [],
      apply(value, _, make) {
        const text = make.plain(pythonText(value));
        checkTaken(text);
        return make.integer(text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0);
      },
    },
  ],
  [
    "truncate",
    {
      names: ["length", "killwords", "end", "leeway"],
      apply(value, args, make) {
        const length = args.number("length", 255);
        const [end, leeway] = [args.text("end", "..."), args.number("leeway", 5)];
        if (!(length >= end.length) || !(leeway >= 0))
          throw new Error("truncate: expected a length of at least that of the end, and a leeway of at least 0");
        const text = pythonText(value);
        const characters = make.characters(text);
        if (characters.length <= length + leeway) return make.text(text);
        const kept = characters.slice(0, length - end.length).join("");
        const space = args.flag("killwords") ? -1 : kept.lastIndexOf(" ");
        return make.text((space < 0 ? kept : kept.slice(0, space)) + end);
      },
    },
  ],
  [
    "center",
    {
      names: ["width"],
      apply(value, args, make) {
        const text = pythonText(value);
        return make.text(centered(text, make.characters(text).length, args.number("width", 80)));
      },
    },
  ],
  [
    "round",
    {
      names: ["precision", "method"],
      apply(value, args, make) {
        if (!isNumber(value)) throw new Error(`round: expected a number, got ${value.type}`);
        const [number, precision] = [Number(value.value), args.number("precision", 0)];
        const method = args.text("method", "common");
        if (method === "common")
          return (isFloat(value) ? make.float : make.integer)(
            Number.isFinite(number) ? roundedTo(number, Math.trunc(precision)) : number,
          );
        if (method !== "ceil" && method !== "floor")
          throw new Error("round: expected the method common, ceil or floor");
        const scale = 10 ** precision;
        return make.float(Math[method](number * scale) / scale);
      },
    },
  ],
  [
    "replace",
    {
      names: ["old", "new", "count"],
      apply(value, args, make) {
        const { from, to, most } = replaceArguments(["old", "new", "count"].map((name) => args.raw(name)));
        return make.text(replaced(pythonText(value), from, to, most));
      },
    },
  ],
  [
    "indent",
    {
      names: ["width", "first", "blank"],
      apply(value, args, make) {
        const how = { first: args.flag("first"), blank: args.flag("blank") };
        return make.text(indented(pythonText(value), args.number("width", 4), how));
      },
    },
  ],
  [
    "tojson",
    {
      names: ["ensure_ascii", "indent", "separators", "sort_keys"], // in transformers' order
      apply: (value, args, make) =>
        make.text(
          jsonOf(value, {
            indent: indentOf(args.get("indent")),
            ensureAscii: args.flag("ensure_ascii"),
            separators: separatorsOf(args.get("separators")),
            sortKeys: args.flag("sort_keys"),
          }),
        ),
    },
  ],
  ["escape", escaped],
  ["e", escaped],
  ["forceescape", escaped],
  [
    "default",
    {
      names: ["default_value", "boolean"],
      apply: (value, args, make) =>
        value.type === "UndefinedValue" || (args.flag("boolean") && !value.__bool__().value)
          ? (args.raw("default_value") ?? make.text(""))
          : value,
    },
  ],
  ["safe", { names: [], apply: (value, _, make) => make.text(pythonText(value)) }],
  ["pprint", { names: [], apply: (value, _, make) => make.text(pythonRepr(value)) }],
]);
