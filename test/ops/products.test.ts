import { opSuite } from "./suite.ts";

// On the instruction set that this machine picks, or that HEDDLE_ISA names.
opSuite("products");
