// Validates the options of a call.
import { z } from "zod";
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { expectedOf, gotAt } from "../../core/schema-issue.ts";
import type { Shape } from "./option.ts";
import { namesIn, unknownOption } from "./option-names.ts";
import type { sharedShape } from "./shared-options.ts";
import type { adapterShape } from "./stage-options.ts";

/** Validated options that every stage has, and adapter options if the stage takes them. */
export type TrainingOptions = z.output<z.ZodObject<typeof sharedShape>> & { maxSteps: number } & Partial<
    z.output<z.ZodObject<typeof adapterShape>>
  >;

/** Checks that the options of a call are an object, before they are destructured. @throws HeddleError INVALID_ARGUMENT */
export function givenOptions<T extends object>(options: T, where: string): T {
  if (!isObject(options))
    throw new HeddleError("INVALID_ARGUMENT", `${where}: expected an object of options, got ${describe(options)}`);
  return options;
}

/** Validates options against a strict schema. The error for an unknown key suggests the option that is most likely meant. */
export function parseOptions<S extends z.ZodObject>(schema: S, value: unknown, where: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = innermost(parsed.error.issues[0]!);
  if (issue.code === "unrecognized_keys") {
    const place = [where, ...issue.path.map(String)].join(".");
    throw unknownOption(place, issue.keys[0]!, namesIn(objectAt(schema, issue.path).shape));
  }
  const name = issue.path.map(String).join(".") || where;
  throw new HeddleError("INVALID_ARGUMENT", `${name}: expected ${expectedOf(issue)}, got ${gotAt(issue, value)}`);
}

/**
 * Throws for the first unknown option name, before loading any file that other options refer to.
 * @param shape the stage's options, and those that the caller of the stage handles itself
 * @throws HeddleError INVALID_ARGUMENT
 */
export function needKnownNames(shape: Shape, options: Readonly<Record<string, unknown>>, where: string): void {
  for (const key of Object.keys(options))
    if (!Object.hasOwn(shape, key)) throw unknownOption(where, key, namesIn(shape));
}

/**
 * Replaces the issue of a union with the first issue inside one of its object or array alternatives, if there is one.
 */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== "invalid_union") return issue;
  const firsts = issue.errors.map(([first]) => first);
  const inner = firsts.find((one) => one && (one.path.length > 1 || one.code === "unrecognized_keys"));
  return inner ? { ...inner, path: [...issue.path, ...inner.path] } : issue;
}

/** Returns the schema of a nested object of options. */
function objectAt(schema: z.ZodObject, path: readonly PropertyKey[]): z.ZodObject {
  let at: unknown = schema;
  for (const key of path) {
    at = at instanceof z.ZodArray ? at.element : (at as z.ZodObject).shape[key as string];
    while (at instanceof z.ZodOptional || at instanceof z.ZodDefault) at = at.unwrap();
    if (at instanceof z.ZodUnion)
      at = at.options.find((kind) => kind instanceof z.ZodArray && kind.element instanceof z.ZodObject);
  }
  return at as z.ZodObject;
}
