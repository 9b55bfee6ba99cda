import { opSuite } from "./suite.ts";

// Uses the default instruction set of this machine, or HEDDLE_ISA.
opSuite("products");
