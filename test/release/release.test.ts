// The checks of `npm run release:check`, and the package.json that release.yml publishes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { docsAddress } from "../../tsdown.config.ts";

interface Package {
  name: string;
  version: string;
  license: string | undefined;
  bytes: number;
}
type Manifest = Record<string, unknown> & { version: string };

const root = fileURLToPath(new URL("../..", import.meta.url));
const script = (name: string) => import(new URL(`../../scripts/release/${name}`, import.meta.url).href);
const { ALLOWED_LICENSES, dependencyProblems, MAX_BYTES, MAX_PACKAGES, productionPackages } = (await script(
  "dependencies.mjs",
)) as {
  ALLOWED_LICENSES: string[];
  MAX_BYTES: number;
  MAX_PACKAGES: number;
  productionPackages: (root: string) => Package[];
  dependencyProblems: (packages: Package[]) => string[];
};
const { packedProblems, treeProblems, versionProblems } = (await script("package.mjs")) as {
  treeProblems: (result: { status: number | null; stdout: string; stderr: string; error?: Error }) => string[];
  packedProblems: (report: { files: { path: string }[]; size: number; unpackedSize: number }) => string[];
  versionProblems: (facts: object) => string[];
};
const { withPlatforms, withRepository } = (await script("manifest.mjs")) as {
  withPlatforms: (manifest: Manifest, packages: object[]) => Manifest;
  withRepository: (manifest: Manifest, url: string) => Manifest;
};

const packages = productionPackages(root);
const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

test("production dependencies have allowed licenses, and keep within the limits of count and size", () => {
  expect(packages.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(dependencies)));
  expect(packages.every(({ bytes }) => bytes > 1000)).toBe(true);
  expect(dependencyProblems(packages)).toEqual([]);
});

test("a dependency without an allowed license is named", () => {
  const [first] = packages;
  expect(dependencyProblems([{ ...first!, name: "copyleft", license: "GPL-3.0-only" }])).toEqual([
    `copyleft: expected one of the licenses ${ALLOWED_LICENSES.join(", ")}, got GPL-3.0-only`,
  ]);
  expect(dependencyProblems([{ ...first!, name: "silent", license: undefined }])[0]).toMatch(/^silent: .* got none$/);
});

test("a checkout is clean only if git says so", () => {
  expect(treeProblems({ status: 0, stdout: "", stderr: "" })).toEqual([]);
  expect(treeProblems({ status: 0, stdout: " M package.json\n", stderr: "" })).toEqual(["git reports changed files"]);
  const noRepository = "fatal: not a git repository\n";
  expect(treeProblems({ status: 128, stdout: "", stderr: noRepository })).toEqual([
    "git status failed: fatal: not a git repository",
  ]);
  const error = new Error("spawn git ENOENT");
  expect(treeProblems({ status: null, stdout: "", stderr: "", error })).toEqual([
    "git status failed: spawn git ENOENT",
  ]);
});

test("too many or too large dependencies are reported", () => {
  const many = Array.from({ length: MAX_PACKAGES + 1 }, () => packages[0]!);
  expect(dependencyProblems(many)).toEqual([`expected at most ${MAX_PACKAGES} packages, got ${MAX_PACKAGES + 1}`]);
  expect(dependencyProblems([{ ...packages[0]!, bytes: MAX_BYTES + 1 }])).toEqual([
    `expected at most ${MAX_BYTES} bytes of dependencies, got ${MAX_BYTES + 1}`,
  ]);
});

const released = {
  manifest: { version: "1.2.3", repository: "x" },
  lock: { version: "1.2.3", packages: { "": { version: "1.2.3" } } },
  changelog: "# heddle\n\n## 1.2.3\n\n### Patch Changes\n",
  changesets: [] as string[],
};

test("a version is ready if both the lock file and the changelog have it", () => {
  expect(versionProblems(released)).toEqual([]);
});

test.each([
  [
    "another version in the lock file",
    { lock: { version: "1.2.2", packages: { "": { version: "1.2.3" } } } },
    /^package-lock\.json: /,
  ],
  [
    "no section in the changelog",
    { changelog: "# heddle\n\n## 1.2.30\n" },
    /^CHANGELOG\.md: expected a section "## 1\.2\.3"/,
  ],
  [
    "unreleased text in the changelog",
    { changelog: "# heddle\n\n## 1.2.3\n\n### Patch Changes\n\n## Unreleased\n\nNew since 1.2.2.\n" },
    /^CHANGELOG\.md: expected no section "## Unreleased", got one: move its text into "## 1\.2\.3"$/,
  ],
  ["changes without a version", { changesets: ["a.md"] }, /^\.changeset: .* got 1: run `npx changeset version`$/],
  ["no repository", { manifest: { version: "1.2.3" } }, /^package\.json: expected a repository/],
])("a release with %s is not ready", (_, change, expected) => {
  expect(versionProblems({ ...released, ...change })).toEqual([expect.stringMatching(expected)]);
});

const files = [
  "dist/index.js",
  "dist/index.cjs",
  "dist/index.d.ts",
  "dist/cli/main.js",
  "models/default/config.json",
  "LICENSE",
  "README.md",
];
const report = (...more: string[]) => ({
  files: [...files, ...more].map((path) => ({ path })),
  size: 1,
  unpackedSize: 1,
});

test("a package with missing, unexpected or too large files is reported", () => {
  expect(packedProblems(report("package.json", "docs/training.md"))).toEqual([]);
  expect(packedProblems({ ...report(), files: [] })).toHaveLength(files.length);
  expect(
    packedProblems(report("test/a.test.ts", "prebuilds/linux-x64/heddle.glibc.node", "dist/index.js.map")),
  ).toEqual([
    "unexpected file test/a.test.ts",
    "unexpected binary prebuilds/linux-x64/heddle.glibc.node: the package of its platform has it",
    "unexpected source map dist/index.js.map",
  ]);
  expect(packedProblems({ ...report(), size: 1e9, unpackedSize: 1e9 })).toHaveLength(2);
});

test("publishing names the repository of the workflow, unless package.json names one", () => {
  const url = "https://example.com/owner/heddle";
  expect(withRepository({ version: "1.2.3" }, url)).toEqual({
    version: "1.2.3",
    repository: { type: "git", url: `git+${url}.git` },
    bugs: { url: `${url}/issues` },
    homepage: `${url}#readme`,
  });
  const own = { version: "1.2.3", repository: "a", bugs: "b", homepage: "c" };
  expect(withRepository(own, url)).toEqual(own);
});

test("errors link to docs/ at the version's tag, and without a repository to the build's own docs", () => {
  const { repository } = withRepository({ version: "1.2.3" }, "https://example.com/owner/heddle") as Manifest & {
    repository: { url: string };
  };
  const address = docsAddress({ version: "1.2.3", repository });
  expect(JSON.parse(address)).toBe("https://example.com/owner/heddle/blob/v1.2.3/docs/");
  expect(docsAddress({ version: "1.2.3" })).toBe('addressOf("../docs/", import.meta.url)');
});

test("publishing adds the packages of platforms, and rejects other versions of them", () => {
  const platform = { name: "@heddle/linux-x64-gnu", version: "1.2.3" };
  expect(withPlatforms({ version: "1.2.3" }, [platform]).optionalDependencies).toEqual({ [platform.name]: "1.2.3" });
  expect(() => withPlatforms({ version: "1.2.4" }, [platform])).toThrow("expected version 1.2.4, got 1.2.3");
});
