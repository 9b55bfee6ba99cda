import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Long sets and those that need another build have their own npm scripts.
    exclude: ["test/packaging/**", "test/full/**"],
    pool: "forks",
    testTimeout: 60_000,
  },
});
