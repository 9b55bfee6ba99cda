import { hostileFiles } from "./hostile.ts";

hostileFiles(4000);
