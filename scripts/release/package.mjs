// Checks the version, the checkout and the contents of heddle's own package before it is published.

/** Folders of the repository that users need. Everything else in a package is a mistake. */
const PUBLISHED = ["dist", "models", "native", "examples", "docs", "scripts"];
const REQUIRED = [
  "dist/index.js",
  "dist/index.cjs",
  "dist/index.d.ts",
  "dist/cli/main.js",
  "models/default/config.json",
  "LICENSE",
  "README.md",
];
/** Limits of the package in bytes. It has no binaries, which are in the platforms' packages. */
const MAX_PACKED = 7_000_000;
const MAX_UNPACKED = 15_000_000;

/** Returns one sentence for each file whose version differs, for unreleased changes, and for a missing repository. */
export function versionProblems({ manifest, lock, changelog, changesets, repository }) {
  const { version } = manifest;
  const problems = [];
  const locked = new Set([lock.version, lock.packages[""].version]);
  if (locked.size !== 1 || !locked.has(version))
    problems.push(`package-lock.json: expected version ${version}, got ${[...locked].join(", ")}`);
  const lines = changelog.split(/\r?\n/);
  if (!lines.includes(`## ${version}`)) problems.push(`CHANGELOG.md: expected a section "## ${version}", found none`);
  // `npx changeset version` adds a section above this one, and keeps its heading.
  if (lines.some((line) => /^## unreleased\s*$/i.test(line)))
    problems.push(`CHANGELOG.md: expected no section "## Unreleased", got one: move its text into "## ${version}"`);
  if (changesets.length > 0)
    problems.push(
      `.changeset: expected no change that is not in a version, got ${changesets.length}: run \`npx changeset version\``,
    );
  if (!manifest.repository && !repository)
    problems.push("package.json: expected a repository, which npm's provenance needs, or GITHUB_REPOSITORY in CI");
  return problems;
}

/** Returns a sentence if `git status` names files, or if it failed, in which case its output is empty too. */
export function treeProblems({ status, stdout, stderr, error }) {
  if (status !== 0) return [`git status failed: ${error?.message ?? stderr.trim()}`];
  return stdout === "" ? [] : ["git reports changed files"];
}

/** Returns one sentence for each missing file, each unexpected file, and each exceeded limit. */
export function packedProblems({ files, size, unpackedSize }) {
  const paths = files.map(({ path }) => path);
  const stray = paths.filter((path) => path.includes("/") && !PUBLISHED.includes(path.split("/", 1)[0]));
  const of = (extension) => paths.filter((path) => path.endsWith(extension));
  const binaries = of(".node");
  return [
    ...REQUIRED.filter((path) => !paths.includes(path)).map((path) => `expected ${path} in the package`),
    ...stray.filter((path) => !binaries.includes(path)).map((path) => `unexpected file ${path}`),
    ...binaries.map((path) => `unexpected binary ${path}: the package of its platform has it`),
    ...of(".map").map((path) => `unexpected source map ${path}`),
    ...(size > MAX_PACKED ? [`expected at most ${MAX_PACKED} bytes to download, got ${size}`] : []),
    ...(unpackedSize > MAX_UNPACKED ? [`expected at most ${MAX_UNPACKED} unpacked bytes, got ${unpackedSize}`] : []),
  ];
}
