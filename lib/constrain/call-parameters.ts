// Compiles arguments that are written one by one, each as a key and a value. Strings are plain text, and other values
// are JSON.
import type { ParameterShape } from "../answers/format.ts";
import type { JsonType } from "../core/json-type.ts";
import type { Slices } from "../core/slices.ts";
import type { SchemaCompiler } from "./compile-schema.ts";
import { type Facts, propertyOf, typesAllowed } from "./facts.ts";
import type { GrammarBuilder } from "./grammar.ts";
import { unsupportedInCalls } from "./limits.ts";
import { parsePattern, wholeTexts } from "./pattern.ts";
import { textWithout } from "./plain-text.ts";
import { type Dfa, dfaInSlices, intersectInSlices, isEmpty } from "./regular.ts";

/** Makes nodes for the arguments of a tool, in the order of its schema. @throws HeddleError UNSUPPORTED for a schema that this form cannot express */
export function* parameterNodes(
  compiler: SchemaCompiler,
  builder: GrammarBuilder,
  { rule, shape, next }: { rule: number; shape: ParameterShape; next: number },
): Slices<number> {
  const [facts, ...others] = yield* compiler.alternativesOfRoot([{ type: "object" }]);
  if (!facts) return builder.choice([]);
  if (others.length > 0 || facts.values) throw unsupportedInCalls(facts.where, "a choice among objects");
  const { properties, required, minProperties, maxProperties } = facts;
  const names = [...properties.keys(), ...required.filter((name) => !properties.has(name))];
  if (minProperties > required.length || maxProperties < names.length)
    throw unsupportedInCalls(facts.where, "a limit on the number of properties");
  const isRequired = new Set(required);
  let node = next;
  for (const name of names.reverse()) {
    if (/[<>\n]/.test(name)) throw unsupportedInCalls(facts.where, `a property named ${JSON.stringify(name)}`);
    const after = builder.literal(rule, shape.after, node);
    const values: number[] = [];
    for (const one of yield* compiler.alternativesOfAll(propertyOf(facts, name)))
      values.push(...(yield* valueNodes(compiler, builder, { facts: one, rule, shape, next: after })));
    const present = yield* builder.text(rule, shape.before + name + shape.between, builder.choice(values));
    node = isRequired.has(name) ? present : builder.choice([present, node]);
  }
  return node;
}

function* valueNodes(
  compiler: SchemaCompiler,
  builder: GrammarBuilder,
  { facts, rule, shape, next }: { facts: Facts; rule: number; shape: ParameterShape; next: number },
): Slices<number[]> {
  const types = new Set(typesAllowed(facts));
  const nodes: number[] = [];
  if (types.delete("string"))
    for (const dfa of yield* texts(facts, shape.close, builder))
      nodes.push(
        typeof dfa === "string" ? yield* builder.text(rule, dfa, next) : yield* builder.automaton(rule, dfa, next),
      );
  if (types.size > 0) {
    const others: ReadonlySet<JsonType> = types;
    for (const one of yield* compiler.rulesFor({ ...facts, types: others })) nodes.push(builder.call(one, next));
  }
  return nodes;
}

/** Returns the strings that `facts` allows, as a list of strings or as one automaton. Empty if it allows none. */
function* texts(facts: Facts, close: string, builder: GrammarBuilder): Slices<(string | Dfa)[]> {
  const { work } = builder;
  const { values, patterns, formats, minLength, maxLength, where } = facts;
  if (formats.length > 0) throw unsupportedInCalls(where, "a string format");
  if (values && patterns.length > 0) throw unsupportedInCalls(where, "a pattern together with enum or const");
  if (values)
    return values
      .filter((value) => typeof value === "string")
      .filter((value) => !value.includes(close) && [...value].length >= minLength && [...value].length <= maxLength);
  let dfa = yield* textWithout(close, where, work, { least: minLength, most: maxLength });
  for (const { source, where: place } of patterns) {
    const tree = wholeTexts(parsePattern(source, place, work), place, { search: true });
    dfa = yield* intersectInSlices(dfa, yield* dfaInSlices(tree, "plain", place, work), place, work);
  }
  return isEmpty(dfa) ? [] : [dfa];
}
