// An unsupported Node version is reported before any other module of the package runs.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { nodeVersionProblem, OLDEST_NODE } from "../../lib/core/node-version.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

test.each(["20.4.0", "20.19.1", "21.0.0", "22.0.0", "24.1.0", "100.0.0"])("Node %s is supported", (version) => {
  expect(nodeVersionProblem(version)).toBeUndefined();
});

test.each(["20.3.1", "20.0.0", "18.20.8", "16.20.2", "9.11.2"])("Node %s is not supported", (version) => {
  expect(nodeVersionProblem(version)).toBe(`node: expected version 20.4 or newer, got ${version}`);
});

test("the minimum version equals that of package.json", () => {
  const { engines } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
  expect(engines.node).toBe(`>=${OLDEST_NODE}`);
});

describe("a Node that reports version 18.20.8", () => {
  // Functions missing in Node 18 are removed, so that code running before the check would fail.
  const pretence = `data:text/javascript,${encodeURIComponent(
    'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "18.20.8" } }); delete String.prototype.toWellFormed;',
  )}`;
  const node = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", pretence, ...args], {
      cwd: root,
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };
  const message = "heddle: node: expected version 20.4 or newer, got 18.20.8\n";

  test("makes the CLI print one line and exit with code 1", () => {
    expect(node("dist/cli/main.js", "info")).toEqual({ status: 1, stdout: "", stderr: message });
  });

  test.each(["index", "graph/index", "serve/index", "tokenizer/index", "ai-sdk/index"])(
    "cannot load dist/%s",
    (entry) => {
      const print = "(error) => console.log(error.message, error.code)";
      const imported = node("--input-type=module", "-e", `await import("./dist/${entry}.js").catch(${print})`);
      const required = node("-e", `try { require("./dist/${entry}.cjs") } catch (error) { (${print})(error) }`);
      for (const { status, stdout } of [imported, required])
        expect({ status, stdout }).toEqual({ status: 0, stdout: `${message.trimEnd()} UNSUPPORTED\n` });
    },
  );
});
