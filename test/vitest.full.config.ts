import { defineConfig } from "vitest/config";
import { testOptions } from "../vitest.config.ts";

export default defineConfig(
  testOptions({ include: ["test/**/*.test.ts"], exclude: ["test/packaging/**"], testTimeout: 1_800_000 }),
);
