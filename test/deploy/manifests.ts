// Reads the files of deploy/.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";

// biome-ignore lint/suspicious/noExplicitAny: the schemas say what the fields are
export type Manifest = any;

const folder = fileURLToPath(new URL("../../deploy/", import.meta.url));

/** Returns the text of a file of deploy/. */
export function deployed(name: string): string {
  return readFileSync(folder + name, "utf8");
}

/** Returns the documents of a YAML file. Duplicate keys and other errors are thrown. */
export function documents(name: string): Manifest[] {
  return parseAllDocuments(deployed(name), { strict: true, uniqueKeys: true }).map((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    return document.toJS();
  });
}

/** The Kubernetes objects of deploy/kubernetes, without the values of a chart. */
export const manifests: Manifest[] = readdirSync(`${folder}kubernetes`)
  .filter((name) => !name.endsWith("-values.yaml"))
  .flatMap((name) => documents(`kubernetes/${name}`));

/** Returns the objects of a kind. */
export function allOf(kind: string): Manifest[] {
  return manifests.filter((one) => one.kind === kind);
}

/** Returns the only object of a kind. */
export function theOnly(kind: string): Manifest {
  const found = allOf(kind);
  if (found.length !== 1) throw new Error(`expected one ${kind}, got ${found.length}`);
  return found[0];
}

/** Returns the object of a kind with a name. */
export function namedOne(kind: string, name: string): Manifest {
  const found = allOf(kind).filter(({ metadata }) => metadata.name === name);
  if (found.length !== 1) throw new Error(`expected one ${kind} ${name}, got ${found.length}`);
  return found[0];
}

export const compose: Manifest = documents("compose.yaml")[0];
