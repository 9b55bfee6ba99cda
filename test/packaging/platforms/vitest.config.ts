import { defineConfig } from "vitest/config";
import { testOptions } from "../../../vitest.config.ts";

export default defineConfig(
  testOptions({
    include: ["test/packaging/platforms/*.test.ts"],
    testTimeout: 1_200_000,
    hookTimeout: 600_000,
    fileParallelism: false, // the files install the same programs
  }),
);
