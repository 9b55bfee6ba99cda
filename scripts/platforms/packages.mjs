// Makes the npm package of each platform: its binary, a package.json by which npm selects it, a README and the license.
//
//   node scripts/platforms/packages.mjs FOLDER [TARGET ...]
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { binaryPath, findTarget, root, targets } from "./targets.mjs";

export const packageName = ({ name }) => `@heddle/${name}`;

const systems = { linux: "Linux", darwin: "macOS", win32: "Windows" };

/** Returns package.json of a target's package, for a version of heddle's own package.json. */
export function packageJson(target, heddle) {
  return {
    name: packageName(target),
    version: heddle.version,
    description: `The native addon of heddle for ${describe(target)}.`,
    license: heddle.license,
    author: heddle.author,
    ...(heddle.repository && { repository: heddle.repository }),
    ...(heddle.homepage && { homepage: heddle.homepage }),
    os: [target.os],
    cpu: [target.cpu],
    ...(target.libc && { libc: [target.libc] }),
    engines: heddle.engines,
    preferUnplugged: true,
    files: ["prebuilds"],
  };
}

/** Returns heddle's package.json for publishing: each platform's package is optional, and has the same version. */
export function publishedJson(heddle) {
  return { ...heddle, optionalDependencies: Object.fromEntries(targets.map((t) => [packageName(t), heddle.version])) };
}

function describe({ os, cpu, libc, cuda }) {
  const library = libc ? ` with ${libc === "glibc" ? "glibc 2.28 or newer" : "musl"}` : "";
  return `${systems[os]} ${cpu}${library}${cuda ? ", with CUDA kernels" : ""}`;
}

/** Writes a target's package into `folder` and returns its path. The binary must have been built. */
export function makePackage(target, folder) {
  const binary = join(root, binaryPath(target));
  if (!existsSync(binary))
    throw new Error(`${binary} is missing: run \`node scripts/prebuild.mjs ${target.name}\` first`);
  const made = join(folder, target.name);
  const heddle = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  mkdirSync(dirname(join(made, binaryPath(target))), { recursive: true });
  copyFileSync(binary, join(made, binaryPath(target)));
  copyFileSync(join(root, "LICENSE"), join(made, "LICENSE"));
  writeFileSync(join(made, "package.json"), `${JSON.stringify(packageJson(target, heddle), null, 2)}\n`);
  const readme = [
    `# ${packageName(target)}`,
    `This package has the native addon of [heddle](https://www.npmjs.com/package/heddle) for ${describe(target)}.`,
    "npm installs it together with heddle. Do not install it yourself.",
  ];
  writeFileSync(join(made, "README.md"), `${readme.join("\n\n")}\n`);
  return made;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [folder, ...names] = process.argv.slice(2);
  if (!folder) {
    console.error("usage: node scripts/platforms/packages.mjs FOLDER [TARGET ...]");
    process.exit(2);
  }
  for (const target of names.length > 0 ? names.map(findTarget) : targets) console.log(makePackage(target, folder));
}
