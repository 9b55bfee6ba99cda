// A minute of the fuzzer for each loader, from another place every day.
import { describeFuzzing } from "./fuzz-loaders.ts";

describeFuzzing(60, Math.floor(Date.now() / 86_400_000));
