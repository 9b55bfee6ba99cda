// Checks the parameters of a request.
import type { z } from "zod";
import { expectedName, nearest } from "../../core/nearest-name.ts";
import { expectedOf, gotAt } from "../../core/schema-issue.ts";
import { Refusal, unsupported } from "../http/http-error.ts";

/** Converts a schema issue at a path below `at` to a refusal. */
export function issueRefusal(issue: z.core.$ZodIssue, value: unknown, at = ""): Refusal {
  const path = issue.path.reduce<string>(
    (name, step) =>
      typeof step === "number" ? `${name}[${step}]` : name === "" ? String(step) : `${name}.${String(step)}`,
    at,
  );
  return new Refusal(400, `${path}: expected ${expectedOf(issue)}, got ${gotAt(issue, value)}`, {
    param: path,
    code: "invalid_value",
  });
}

/** Parameters of a dialect that have no effect here, or cannot be obeyed. */
export interface OtherParameters {
  ignored: ReadonlySet<string>;
  /** Values of unsupported parameters that are accepted, because they request what the server always does. */
  accepted?: Readonly<Record<string, unknown>>;
  /** Messages for parameters that are refused, by name. */
  unsupported: Readonly<Record<string, string>>;
  /** Name of the object that contains the parameters. Default: the body itself contains them. */
  objectName?: string;
}

/**
 * Returns a request's checked parameters. Null counts as not given.
 * @throws Refusal 400 that names the first invalid parameter
 */
export function parameters<S extends z.ZodObject>(
  schema: S,
  body: Readonly<Record<string, unknown>>,
  others: OtherParameters,
): z.infer<S> {
  const known = Object.keys(schema.shape);
  const nameOf = (name: string) => (others.objectName === undefined ? name : `${others.objectName}.${name}`);
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(body)) {
    if (value === null || others.ignored.has(name) || isAccepted(others, name, value)) continue;
    if (known.includes(name)) given[name] = value;
    else if (Object.hasOwn(others.unsupported, name)) throw unsupported(nameOf(name), others.unsupported[name]!);
    else throw unknownParameter(name, nameOf(name), known);
  }
  const result = schema.safeParse(given);
  if (!result.success) throw issueRefusal(result.error.issues[0]!, given, others.objectName);
  return result.data;
}

function unknownParameter(name: string, path: string, known: readonly string[]): Refusal {
  const shown = path.slice(0, 80);
  const expected = expectedName(nearest(name, known), known, "parameter");
  return new Refusal(400, `${shown}: expected ${expected}, got an unknown one`, {
    param: shown,
    code: "unknown_parameter",
  });
}

function isAccepted({ accepted = {} }: OtherParameters, name: string, value: unknown): boolean {
  return Object.hasOwn(accepted, name) && accepted[name] === value;
}
