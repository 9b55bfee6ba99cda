import { opSuite, registrySuite } from "./suite.ts";

// Uses the default instruction set of this machine, or HEDDLE_ISA. Products are in products.test.ts.
registrySuite();
opSuite("others");
