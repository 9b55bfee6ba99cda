import { defineConfig } from "vitest/config";
import { projects, testOptions } from "../vitest.config.ts";

// All unit tests, with the long ones.
export default defineConfig(testOptions({ projects: projects({ testTimeout: 1_800_000 }) }));
