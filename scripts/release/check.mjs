// Runs all automatic checks of a release, and lists the manual ones.
//
//   npm run release:check [-- --no-suites] [-- --only NAME,NAME]
//
// --no-suites leaves out the test suites that need binaries: platforms, packaging and runtimes. Exits with 1 if a check fails.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { dependencyProblems, productionPackages } from "./dependencies.mjs";
import { packedProblems, treeProblems, versionProblems } from "./package.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const { values } = parseArgs({
  options: { "no-suites": { type: "boolean", default: false }, only: { type: "string" } },
});
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const temporary = mkdtempSync(join(tmpdir(), "heddle-release-"));

function run(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28, ...options });
}

/** Returns an empty array if a program exits with 0, otherwise one problem with its last lines of output. */
function passes(command, ...args) {
  const { status, stdout, stderr, error } = run(command, args);
  if (status === 0) return [];
  return [
    `${command} ${args.join(" ")}: ${error?.message ?? `${stdout}${stderr}`.trim().split("\n").slice(-15).join("\n    ")}`,
  ];
}

/** Runs a script of package.json with its output shown. */
function script(name, ...args) {
  const { status } = run("npm", ["run", name, ...(args.length > 0 ? ["--", ...args] : [])], { stdio: "inherit" });
  return status === 0 ? [] : [`npm run ${name} ended with ${status}`];
}

let packed;
/** Packs the package once. */
function pack() {
  if (packed === undefined) {
    const { status, stdout, stderr } = run("npm", [
      "pack",
      "--json",
      "--ignore-scripts",
      "--pack-destination",
      temporary,
    ]);
    if (status !== 0) throw new Error(stderr.trim());
    packed = JSON.parse(stdout)[0];
  }
  return { ...packed, path: join(temporary, packed.filename) };
}

function audit() {
  const { stdout } = run("npm", ["audit", "--omit=dev", "--json"]);
  const report = JSON.parse(stdout || "{}");
  if (report.metadata === undefined)
    return [`npm audit got no answer from the registry: ${report.message ?? report.error?.summary}`];
  const { total } = report.metadata.vulnerabilities;
  return total === 0
    ? []
    : [`npm audit reports ${total} vulnerable packages: ${Object.keys(report.vulnerabilities).join(", ")}`];
}

const bin = (name) => join(root, "node_modules", ".bin", name);
const checks = {
  versions: () =>
    versionProblems({
      manifest,
      lock: JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")),
      changelog: readFileSync(join(root, "CHANGELOG.md"), "utf8"),
      changesets: readdirSync(join(root, ".changeset")).filter((name) => name.endsWith(".md") && name !== "README.md"),
      repository: process.env.GITHUB_REPOSITORY,
    }),
  "clean tree": () => treeProblems(run("git", ["status", "--porcelain", "--untracked-files=no"])),
  dependencies: () => dependencyProblems(productionPackages(root)),
  audit,
  package: () => packedProblems(pack()),
  publint: () => passes(bin("publint"), "--strict", pack().path),
  attw: () => passes(bin("attw"), "--no-color", "--no-emoji", pack().path),
  platforms: () => script("test:platforms"),
  packaging: () => script("test:packaging"),
  runtimes: () => script("test:runtimes"),
};

const suites = ["platforms", "packaging", "runtimes"];
const asked =
  values.only?.split(",") ?? Object.keys(checks).filter((name) => !(values["no-suites"] && suites.includes(name)));
const unknown = asked.filter((name) => !(name in checks));
if (unknown.length > 0) {
  console.error(
    `release:check: unknown check ${unknown.join(", ")}: expected some of ${Object.keys(checks).join(", ")}`,
  );
  process.exit(2);
}
const failed = [];
try {
  if (!existsSync(join(root, "dist", "index.js"))) throw new Error("dist is missing: run `npm run build:js` first");
  for (const name of asked) {
    let problems;
    try {
      problems = checks[name]();
    } catch (error) {
      problems = [error.message];
    }
    console.log(`${problems.length === 0 ? "ok    " : "FAILED"} ${name}`);
    for (const problem of problems) console.log(`    ${problem}`);
    if (problems.length > 0) failed.push(name);
  }
} catch (error) {
  console.error(`release:check: ${error.message}`);
  failed.push("all");
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
console.log(
  failed.length === 0
    ? "\nEvery check passes. Left to people: read CHANGELOG.md, and run scripts/gpu-check.sh on a machine with a GPU."
    : `\n${failed.length} of ${asked.length} checks failed: ${failed.join(", ")}`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
