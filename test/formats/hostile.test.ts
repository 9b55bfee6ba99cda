import { hostileFiles } from "./hostile.ts";

hostileFiles(60, 1);
