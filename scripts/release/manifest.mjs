// Completes package.json for publishing, in CI's own checkout:
//
//   node scripts/release/manifest.mjs                 names the repository of the workflow. npm's provenance needs it.
//   node scripts/release/manifest.mjs --packages DIR  adds the platforms' packages in DIR as optional dependencies.
//
// The platforms' packages are not in the repository's package.json, because an unpublished version cannot be installed in a checkout.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Adds `repository`, `bugs` and `homepage` where they are missing. `url` is the address of the repository. */
export function withRepository(manifest, url) {
  return {
    ...manifest,
    repository: manifest.repository ?? { type: "git", url: `git+${url}.git` },
    bugs: manifest.bugs ?? { url: `${url}/issues` },
    homepage: manifest.homepage ?? `${url}#readme`,
  };
}

/** Adds the packages of platforms. @throws Error if a package has another version than heddle */
export function withPlatforms(manifest, packages) {
  for (const { name, version } of packages)
    if (version !== manifest.version) throw new Error(`${name}: expected version ${manifest.version}, got ${version}`);
  return {
    ...manifest,
    optionalDependencies: Object.fromEntries(packages.map(({ name, version }) => [name, version])),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({ options: { packages: { type: "string" } } });
  const file = join(root, "package.json");
  const read = (path) => JSON.parse(readFileSync(path, "utf8"));
  let manifest = read(file);
  if (values.packages) {
    const folders = readdirSync(values.packages).sort();
    if (folders.length === 0) throw new Error(`${values.packages}: expected the packages of platforms, found none`);
    manifest = withPlatforms(
      manifest,
      folders.map((name) => read(join(values.packages, name, "package.json"))),
    );
  } else {
    const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository } = process.env;
    if (!manifest.repository && !(server && repository))
      throw new Error("expected GITHUB_SERVER_URL and GITHUB_REPOSITORY, or a repository in package.json");
    manifest = withRepository(manifest, `${server}/${repository}`);
  }
  writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
}
