import { defineConfig } from "vitest/config";
import { projects, testOptions } from "../vitest.config.ts";

// All of the unit tests, with the long sets.
export default defineConfig(testOptions({ projects: projects({ testTimeout: 1_800_000 }) }));
