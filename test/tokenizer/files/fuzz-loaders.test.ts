// A second of the fuzzer for each loader, from the corpus.
import { describeFuzzing } from "./fuzz-loaders.ts";

describeFuzzing(1, 1);
