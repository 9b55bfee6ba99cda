// Published chat templates in llama.cpp's repository, which npm's node-llama-cpp contains as a git bundle.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The folder that HEDDLE_BENCH_LLAMA names has node-llama-cpp in node_modules. */
const folder = process.env.HEDDLE_BENCH_LLAMA;
const bundle = folder && join(folder, "node_modules", "node-llama-cpp", "llama", "gitRelease.bundle");

/** Returns the templates by their file names without `.jinja`. Undefined if node-llama-cpp is not installed. */
export function llamaCppTemplates(): ReadonlyMap<string, string> | undefined {
  if (!bundle || !existsSync(bundle)) {
    console.warn(
      "HEDDLE_BENCH_LLAMA names no node-llama-cpp: the templates in llama.cpp's repository are not read back",
    );
    return undefined;
  }
  const clone = mkdtempSync(join(tmpdir(), "heddle-templates-"));
  try {
    const git = (...args: string[]) => execFileSync("git", ["-C", clone, ...args], { stdio: "pipe" });
    git("init", "--quiet");
    git("fetch", "--quiet", bundle, "HEAD");
    git("checkout", "--quiet", "FETCH_HEAD", "--", "models/templates");
    const templates = join(clone, "models", "templates");
    const files = readdirSync(templates).filter((name) => name.endsWith(".jinja"));
    return new Map(files.map((name) => [name.slice(0, -6), readFileSync(join(templates, name), "utf8")]));
  } finally {
    rmSync(clone, { recursive: true, force: true });
  }
}
