import { defineConfig } from "vitest/config";
import { testOptions } from "../../vitest.config.ts";

export default defineConfig(
  testOptions({ include: ["test/packaging/*.test.ts"], testTimeout: 300_000, hookTimeout: 1_200_000 }),
);
