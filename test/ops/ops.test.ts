import { opSuite, registrySuite } from "./suite.ts";

// On the instruction set that this machine picks, or that HEDDLE_ISA names. Products: products.test.ts.
registrySuite();
opSuite("others");
