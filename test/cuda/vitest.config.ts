import { defineConfig } from "vitest/config";
import { testOptions } from "../../vitest.config.ts";

// On a CUDA device, or an emulated one, where more can be made to happen: npm run test:emulator, scripts/gpu-check.sh.
export default defineConfig(
  testOptions({ include: ["test/cuda/**/*.test.ts", "test/emulator/**/*.test.ts"], testTimeout: 600_000 }),
);
