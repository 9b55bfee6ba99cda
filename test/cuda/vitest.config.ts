import { defineConfig } from "vitest/config";
import { testOptions } from "../../vitest.config.ts";

// Runs on a CUDA device or the emulator: npm run test:emulator, scripts/gpu-check.sh.
export default defineConfig(
  testOptions({ include: ["test/cuda/**/*.test.ts", "test/emulator/**/*.test.ts"], testTimeout: 600_000 }),
);
