// Kernels of the portable instruction set, in a separate process. `npm run test:isa` runs the others.
import { describe } from "vitest";

const forced = process.env.HEDDLE_ISA !== undefined || process.arch === "arm64";
if (!forced) process.env.HEDDLE_ISA = "baseline"; // before the addon loads
const { opSuite } = await import("./suite.ts");

describe.skipIf(forced)("baseline", () => opSuite());
