import type { z } from "zod";

/** The keys of a configuration file by their schema, a row each: the name, then its values and its default. */
export function configKeys(schema: z.ZodObject): [string, string][] {
  return Object.entries(schema.shape).map(([name, field]) => [name, describeField(field)]);
}

function describeField(field: z.core.$ZodType): string {
  let { def } = field._zod;
  let isOptional = false;
  let standard: unknown;
  while (def.type === "optional" || def.type === "default" || def.type === "nullable") {
    isOptional = true;
    if (def.type === "default") standard = (def as z.core.$ZodDefaultDef).defaultValue;
    def = (def as z.core.$ZodOptionalDef).innerType._zod.def;
  }
  const values = valuesOf(def);
  const standing = standard === undefined ? (isOptional ? "" : "needed") : `default ${JSON.stringify(standard)}`;
  return [values, standing].filter(Boolean).join(", ");
}

/** What a field takes, where its type says it in few words. */
function valuesOf(def: z.core.$ZodTypeDef): string {
  if (def.type === "enum") return Object.values((def as z.core.$ZodEnumDef).entries).join("|");
  if (def.type === "boolean") return "true|false";
  return "";
}
