// Fuzzes each loader for a second, starting from the corpus.
import { describeFuzzing } from "./fuzz-loaders.ts";

describeFuzzing(1, 1);
