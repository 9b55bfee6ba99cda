// Functions of Jinja2 that the interpreter package lacks: dict, cycler and joiner.
import type { Scope } from "./jinja.ts";
import type { RuntimeValue } from "./repr.ts";
import { runtimeOf } from "./template-values.ts";

type Values = readonly RuntimeValue[];
type Entries = Map<string, RuntimeValue>;

function functionOf(call: (args: Values) => RuntimeValue): RuntimeValue {
  // Replace `value`, because the interpreter's wrapper of a JavaScript function converts the arguments to plain values.
  return Object.assign(
    runtimeOf(() => null),
    { value: call },
  );
}

function objectOf(entries: Entries): RuntimeValue {
  return Object.assign(runtimeOf({}), { value: entries });
}

/** Splits arguments into positional and named ones. The named ones come last. */
function split(args: Values): { given: Values; named: ReadonlyMap<string, RuntimeValue> } {
  const last = args.at(-1);
  if (last?.type !== "KeywordArgumentsValue") return { given: args, named: new Map() };
  return { given: args.slice(0, -1), named: last.value as Entries };
}

function dict(args: Values): RuntimeValue {
  const { given, named } = split(args);
  const [source] = given;
  let entries: Iterable<readonly [string, RuntimeValue]> = [];
  if (source?.type === "ObjectValue" || source?.type === "NamespaceValue") entries = source.value as Entries;
  else if (source && Array.isArray(source.value))
    entries = (source.value as RuntimeValue[]).map((pair) => {
      const [key, value, ...more] = Array.isArray(pair.value) ? (pair.value as RuntimeValue[]) : [];
      if (!key || !value || more.length > 0) throw new Error("dict: expected pairs");
      return [String(key.value), value];
    });
  else if (source) throw new Error(`dict: expected an object or pairs, got ${source.type}`);
  return objectOf(new Map([...entries, ...named]));
}

function cycler(args: Values): RuntimeValue {
  if (args.length === 0) throw new Error("cycler: expected at least one item");
  const state: Entries = new Map();
  let at = 0;
  const moveTo = (place: number) => {
    at = place % args.length;
    state.set("current", args[at]!);
  };
  moveTo(0);
  state.set(
    "next",
    functionOf(() => {
      const item = args[at]!;
      moveTo(at + 1);
      return item;
    }),
  );
  state.set(
    "reset",
    functionOf(() => {
      moveTo(0);
      return runtimeOf(null);
    }),
  );
  return objectOf(state);
}

function joiner(args: Values): RuntimeValue {
  const { given, named } = split(args);
  const separator = given[0] ?? named.get("sep") ?? runtimeOf(", ");
  let used = false;
  return functionOf(() => {
    if (used) return separator;
    used = true;
    return runtimeOf("");
  });
}

/** Defines dict, cycler and joiner, unless a variable of the template has the same name. */
export function setGlobals(scope: Scope, variables: Readonly<Record<string, unknown>>): void {
  for (const [name, call] of Object.entries({ dict, cycler, joiner }))
    if (!Object.hasOwn(variables, name)) scope.set(name, () => null).value = call;
}
