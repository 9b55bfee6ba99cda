// An installation of this checkout in an empty folder, with the checkout's own addon, for tests of bundlers and runtimes.
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { npm, root } from "./tools.ts";

/** Installs the checkout's tarball into `folder`, next to the programs of test/packaging/consumer. */
export function installCheckout(folder: string, packageJson: object = {}): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, ...packageJson }));
  const [{ filename }] = JSON.parse(
    npm(["pack", "--json", "--silent", "--ignore-scripts", "--pack-destination", folder], root),
  );
  npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", join(folder, filename)], folder);
  cpSync(join(root, "test", "packaging", "consumer"), folder, { recursive: true });
  const release = join(folder, "node_modules", "heddle", "build", "Release");
  mkdirSync(release, { recursive: true });
  cpSync(join(root, "build", "Release", "heddle.node"), join(release, "heddle.node"));
}

/** Installs packages into a separate folder and returns its node_modules. */
export function installPackages(folder: string, dependencies: Record<string, string>): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, dependencies }));
  npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], folder);
  return join(folder, "node_modules");
}
