// Fuzzes each loader for a minute, with a different seed every day.
import { describeFuzzing } from "./fuzz-loaders.ts";

describeFuzzing(60, Math.floor(Date.now() / 86_400_000));
